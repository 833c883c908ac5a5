# Two commands do everything on a fresh machine: `make reproduce` and `make test`.
# `make help` lists the rest.

PROFILE ?= quick
OUT ?= reproduction
STORE ?= runs
DEVICE ?= auto
ENGINE ?=
# Libtorch is needed by GPUs, by ENGINE=libtorch, and by the tests, which compare with it.
TORCH ?= $(if $(filter libtorch,$(ENGINE))$(wildcard /dev/nvidiactl /dev/nvidia0),yes,no)
ALL = --features torch,download
FEATURES = $(if $(filter yes,$(TORCH)),$(ALL))
BGM = ./target/release/bgm
CARGO = cargo
# One word for the shell, whatever a variable holds.
quote = '$(subst ','\'',$(1))'
option = $(if $(2),--$(1) $(call quote,$(2)))
OPTIONS = $(call option,profile,$(PROFILE)) $(call option,store,$(STORE)) \
    $(call option,device,$(DEVICE)) $(call option,engine,$(ENGINE)) $(call option,only,$(ONLY)) \
    $(call option,seeds,$(SEEDS))

.PHONY: reproduce test test-all test-long setup build smoke verify plan report readme calibrate \
    crosscheck faults fuzz sanitize bench bench-vs-pytorch bench-scaling bench-throughput gpu-kit \
    archive-test cluster-test check check-report ci clean help

reproduce: build ## run what is missing, verify, write reproduction/ (PROFILE, ONLY, SEEDS, JOBS, DEVICE, ENGINE)
	@$(BGM) $(OPTIONS) reproduce $(call option,out,$(OUT)) $(call option,jobs,$(JOBS))

test: setup ## the tests, comparisons with libtorch included
	$(CARGO) test --release $(ALL) --no-fail-fast

test-all: test test-long ## these and the long ones

test-long: setup ## planted regressions, false alarms of the gate, faults of the disk, recipes, 180,000 images
	$(CARGO) test --release $(ALL) --test data_scale --test false_alarms --test recipes -- --ignored
	$(CARGO) test --release --features planted-faults --test planted --test store_faults
	@$(CARGO) build --release --quiet $(FEATURES) # the binary in its place is the one without faults again

setup: ## libtorch into .torch/ (TORCH_PYTHON=... to use an installed PyTorch 2.11.0)
	@./scripts/setup.sh

build: $(if $(FEATURES),setup) ## the binary (TORCH=yes: with libtorch; the default where there is an NVIDIA GPU)
	@./scripts/setup.sh rust
	@$(CARGO) build --release --quiet $(FEATURES)

# Always from nothing: a stored run proves nothing about today's code.
smoke: build ## the short exact gate: trains the smoke profile afresh and verifies it
	@rm -rf target/smoke
	@$(BGM) --profile smoke --store target/smoke/runs --device cpu reproduce --out target/smoke/reproduction

verify: build ## compare the store with reference and claims
	@$(BGM) $(OPTIONS) verify

plan: build ## what would run
	@$(BGM) $(OPTIONS) plan

report: build ## tables, figures and report.html from the store; from expected/records where it has no run of the profile
	@$(BGM) $(OPTIONS) report $(call option,out,$(OUT))

readme: build ## write the generated tables into README.md and docs/
	@./scripts/readme.sh

calibrate: ## false alarms and power of the gate: many seeds, planted faults (40 minutes; SEEDS, FAULTY, FAULTS)
	@./scripts/calibrate.sh

crosscheck: build ## verdicts again with SciPy, traces and weights in plain PyTorch (environments of their own)
	@./scripts/crosscheck.sh

check-report: ## the smoke profile's report in headless Chromium (after `make smoke`)
	@./scripts/check-report.sh

faults: ## 3,600 faults of the disk and the process, at every operation of the store
	BGM_FAULTS=all $(CARGO) test --release --features planted-faults --test store_faults -- --nocapture
	@$(CARGO) build --release --quiet $(FEATURES)

sanitize: ## the engine's kernels under AddressSanitizer (needs a nightly Rust toolchain, no libtorch)
	@./scripts/sanitize.sh

fuzz: ## ten million inputs to everything that reads files (needs no libtorch)
	@./scripts/fuzz.sh

bench: build setup ## criterion benchmarks and the machine's limit, in turn with the last program (FILTER, ROUNDS, LIMIT, NOISE, SAVE)
	@./scripts/bench.sh

bench-vs-pytorch: build setup ## this program and a PyTorch baseline in turn (ROUNDS, PROFILE, SEEDS, JOBS, PARTS)
	@./scripts/bench-vs-pytorch.sh

bench-scaling: build ## time and memory against data, R, width, seeds, jobs: target/scaling (SHORT=yes)
	@$(CARGO) bench --quiet --profile release --bench scaling -- $(if $(SHORT),--short)

bench-throughput: build setup ## images a second of each network on DEVICE, beside PyTorch (NETWORK, STEPS, PYTORCH=no)
	@./scripts/bench-throughput.sh $(call option,device,$(DEVICE))

gpu-kit: setup ## what scripts/gpu-visit.sh carries to a machine with a GPU: target/gpu-kit (CIFAR=ARCHIVE)
	@GPU_KIT_CIFAR=$(call quote,$(CIFAR)) ./scripts/gpu-kit.sh
	@$(CARGO) build --release --quiet $(ALL) # the binary in its place has its files again

archive-test: ## an archive without .git builds without C++, Python and libtorch; its binary works alone
	@./scripts/archive-test.sh

cluster-test: build ## a profile through a real Slurm on this machine (Debian, as root)
	@./scripts/cluster-test.sh

check: setup ## formatting and lints, with libtorch and without
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets --quiet -- -D warnings
	$(CARGO) clippy --release --all-targets $(ALL) --quiet -- -D warnings

ci: check test-all smoke check-report ## what .ci/run does

clean: ## everything that was made, libtorch included; not the stored runs
	rm -rf target reproduction .torch .venv .libtorch .setup-stamp .crosscheck .cluster

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
