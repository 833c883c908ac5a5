# A Slurm cluster of two nodes on this one machine: real daemons with a configuration, a key
# and ports of their own, all below one folder. Sourced by scripts/cluster-test.sh.

# slurm_start FOLDER: starts munged, slurmctld and two slurmd; sets SLURM_CONF.
slurm_start() {
    slurm_home=$1
    mkdir -p "$slurm_home"/{state,log,munge}
    chmod 700 "$slurm_home/munge"
    local ports host cpus memory
    read -r -a ports < <(python3 - <<'PY'
import socket
held = [socket.socket() for _ in range(3)]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
PY
    )
    host=$(hostname -s)
    cpus=$(( $(nproc) > 1 ? $(nproc) / 2 : 1 ))
    memory=$(( $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) / 2 ))
    head -c 1024 /dev/urandom > "$slurm_home/munge/key"
    chmod 400 "$slurm_home/munge/key"
    munged --force --key-file="$slurm_home/munge/key" --socket="$slurm_home/munge/socket" \
        --pid-file="$slurm_home/munge/pid" --seed-file="$slurm_home/munge/seed" \
        --log-file="$slurm_home/log/munged" 2>"$slurm_home/log/munged.start"
    cat > "$slurm_home/slurm.conf" <<CONF
ClusterName=bgm
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is sent back to the queue waits until its credential has expired.
AuthInfo=socket=$slurm_home/munge/socket,cred_expire=20
SlurmctldPort=${ports[0]}
StateSaveLocation=$slurm_home/state
SlurmdSpoolDir=$slurm_home/spool-%n
SlurmctldPidFile=$slurm_home/slurmctld.pid
SlurmdPidFile=$slurm_home/slurmd-%n.pid
SlurmctldLogFile=$slurm_home/log/slurmctld
SlurmdLogFile=$slurm_home/log/slurmd-%n
# No control groups: this runs in containers, too.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Nodes are believed what stands here. One that is down stays so until it is resumed.
SlurmdParameters=config_overrides
ReturnToService=0
# Jobs that have ended stay visible: without accounting, Snakemake asks squeue.
MinJobAge=86400
SchedulerParameters=batch_sched_delay=1,sched_interval=2,requeue_delay=1
KillWait=10
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=$cpus RealMemory=$memory
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=$cpus RealMemory=$memory
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$slurm_home/slurm.conf
    # Snakemake calls srun in a job with Slurm's variables removed, this one too.
    mkdir -p "$slurm_home/bin"
    printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" > "$slurm_home/bin/srun"
    chmod +x "$slurm_home/bin/srun"
    PATH=$slurm_home/bin:$PATH
    slurmctld -c
    slurmd -N n1
    slurmd -N n2
    for _ in $(seq 60); do
        [ "$(sinfo -h -N -o '%T' 2>/dev/null | grep -c idle)" = 2 ] && return 0
        sleep 0.5
    done
    echo "Slurm does not come up; see $slurm_home/log:" >&2
    tail -n 5 "$slurm_home"/log/* >&2
    return 1
}

# slurm_stop: cancels what runs and stops the daemons that slurm_start has started.
slurm_stop() {
    [ -n "${slurm_home:-}" ] || return 0
    if [ -n "${SLURM_CONF:-}" ]; then
        squeue -h -o %i 2>/dev/null | xargs -r scancel 2>/dev/null || true
        for _ in $(seq 40); do
            [ -z "$(squeue -h -o %i 2>/dev/null)" ] && break
            sleep 0.5
        done
    fi
    local file pid
    for file in "$slurm_home"/slurmd-n?.pid "$slurm_home/slurmctld.pid" "$slurm_home/munge/pid"; do
        pid=$(cat "$file" 2>/dev/null) && kill "$pid" 2>/dev/null || true
    done
    for _ in $(seq 20); do
        pid=$(cat "$slurm_home/slurmctld.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null || break
        sleep 0.5
    done
    slurm_home=
}
