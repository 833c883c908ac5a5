// What libtorch offers and tch does not wrap: process-wide numerical switches, the fused
// optimizer steps, CUDA graphs and the name of a GPU. Every function returns null on success,
// else a message that the caller frees with bgm_free.

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

namespace {

char* message_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return strdup(torch_error ? torch_error->what_without_backtrace() : error.what());
}

template <typename Body>
char* guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return message_of(error);
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}

std::vector<at::Tensor> gather(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(*tensors[i]);
  return out;
}

// The fused kernels walk the raw memory of parameter and gradient side by side, so a
// gradient that came back in another memory layout is first brought into the parameter's.
std::vector<at::Tensor> gather_like(at::Tensor* const* tensors, const std::vector<at::Tensor>& like) {
  std::vector<at::Tensor> out;
  out.reserve(like.size());
  for (size_t i = 0; i < like.size(); ++i) {
    TORCH_CHECK(like[i].is_non_overlapping_and_dense(), "parameter ", i, " is not dense");
    if (tensors[i]->strides() == like[i].strides()) {
      out.push_back(*tensors[i]);
    } else {
      out.push_back(at::empty_like(like[i]).copy_(*tensors[i]));
    }
  }
  return out;
}

// libtorch's CUDA half is loaded only where there is a GPU, so nothing may be linked against
// it. The members of at::cuda::CUDAGraph are found by their names in the loaded library.
template <typename Function>
Function cuda_symbol(const char* name) {
  auto found = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  TORCH_CHECK(found, name, " is not in the loaded libraries");
  return found;
}

// Its header needs CUDA's own, which do not come with libtorch. By it an at::cuda::CUDAGraph of
// libtorch 2.11.0 has 104 bytes, aligned to 8.
constexpr size_t GRAPH_BYTES = 512;

// An at::cuda::CUDAGraph, and the stream that is set aside while it records. CUDA's current
// device is a property of the thread, so every call first makes the graph's own current.
class Graph {
 public:
  explicit Graph(c10::DeviceIndex index) : device_(c10::DeviceType::CUDA, index) {
    begin_ = cuda_symbol<Begin>("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    end_ = cuda_symbol<Member>("_ZN2at4cuda9CUDAGraph11capture_endEv");
    replay_ = cuda_symbol<Member>("_ZN2at4cuda9CUDAGraph6replayEv");
    destroy_ = cuda_symbol<Member>("_ZN2at4cuda9CUDAGraphD1Ev");
    cuda_symbol<Construct>("_ZN2at4cuda9CUDAGraphC1Eb")(storage_, false);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    const c10::DeviceGuard here(device_);
    destroy_(storage_);
  }

  // From here on, what this thread gives the device is recorded and not run. Recording is
  // not possible on the default stream.
  void begin() {
    const c10::DeviceGuard here(device_);
    const c10::impl::VirtualGuardImpl guard(device_.type());
    guard.synchronizeDevice(device_.index());
    previous_ = guard.exchangeStream(guard.getStreamFromGlobalPool(device_));
    try {
      begin_(storage_, {0, 0}, /*cudaStreamCaptureModeGlobal*/ 0);
    } catch (...) {
      restore();
      throw;
    }
  }

  void end() {
    const c10::DeviceGuard here(device_);
    try {
      end_(storage_);
    } catch (...) {
      restore();
      throw;
    }
    restore();
  }

  void replay() {
    const c10::DeviceGuard here(device_);
    replay_(storage_);
  }

 private:
  using Construct = void (*)(void*, bool);
  using Member = void (*)(void*);
  using Begin = void (*)(void*, std::pair<unsigned long long, unsigned long long>, int);

  void restore() {
    if (!previous_) return;
    c10::impl::VirtualGuardImpl(device_.type()).exchangeStream(*previous_);
    previous_.reset();
  }

  c10::Device device_;
  std::optional<c10::Stream> previous_;
  Begin begin_;
  Member end_, replay_, destroy_;
  alignas(std::max_align_t) unsigned char storage_[GRAPH_BYTES];
};

}  // namespace

extern "C" {

void bgm_free(char* message) { std::free(message); }

char* bgm_set_numerics(bool allow_tf32) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(true);
    context.setDeterministicAlgorithms(true, false);
    context.setDeterministicFillUninitializedMemory(false);
    context.setAllowTF32CuDNN(allow_tf32);
    context.setAllowTF32CuBLAS(allow_tf32);
  });
}

char* bgm_cpu_capability() { return strdup(at::get_cpu_capability().c_str()); }

char* bgm_sgd_step(at::Tensor* const* parameters, at::Tensor* const* gradients,
                   at::Tensor* const* momenta, size_t count, double learning_rate,
                   double momentum, double weight_decay, bool first_step) {
  return guarded([&] {
    at::AutoGradMode no_grad(false);
    auto params = gather(parameters, count);
    auto grads = gather_like(gradients, params);
    auto buffers = momentum == 0.0 ? std::vector<at::Tensor>{} : gather(momenta, count);
    at::_fused_sgd_(params, grads, buffers, weight_decay, momentum, learning_rate,
                    /*dampening=*/0.0, /*nesterov=*/false, /*maximize=*/false, first_step);
  });
}

char* bgm_adam_step(at::Tensor* const* parameters, at::Tensor* const* gradients,
                    at::Tensor* const* first_moments, at::Tensor* const* second_moments,
                    at::Tensor* const* steps, size_t count, double learning_rate,
                    double beta1, double beta2, double weight_decay, double epsilon) {
  return guarded([&] {
    at::AutoGradMode no_grad(false);
    auto params = gather(parameters, count);
    auto grads = gather_like(gradients, params);
    auto first = gather(first_moments, count);
    auto second = gather(second_moments, count);
    auto step = gather(steps, count);
    at::_fused_adam_(params, grads, first, second, {}, step, learning_rate, beta1, beta2,
                     weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// The properties' first member is the name: char name[256], in every version of CUDA. Asked by
// CUDA's own numbering, which CUDA_VISIBLE_DEVICES changes and /proc does not follow.
char* bgm_gpu_name(int8_t device, char** name) {
  return guarded([&] {
    using Properties = const char* (*)(c10::DeviceIndex);
    auto properties = cuda_symbol<Properties>("_ZN2at4cuda19getDevicePropertiesEa");
    *name = strndup(properties(device), 256);
  });
}

// Asked of the driver itself: CUDA's runtime would open a context on the GPU, half a gigabyte of
// it, in a process that only hands out work.
char* bgm_gpu_memory(int8_t device, uint64_t* bytes) {
  return guarded([&] {
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    TORCH_CHECK(driver, dlerror());
    auto call = [&](const char* name, auto function, auto... arguments) {
      function = reinterpret_cast<decltype(function)>(dlsym(driver, name));
      TORCH_CHECK(function, name, " is not in libcuda.so.1");
      const int problem = function(arguments...);
      TORCH_CHECK(problem == 0, name, " failed with error ", problem);
    };
    int handle = 0;
    size_t total = 0;
    call("cuInit", static_cast<int (*)(unsigned)>(nullptr), 0u);
    call("cuDeviceGet", static_cast<int (*)(int*, int)>(nullptr), &handle, int{device});
    call("cuDeviceTotalMem_v2", static_cast<int (*)(size_t*, int)>(nullptr), &total, handle);
    *bytes = total;
  });
}

char* bgm_graph_new(int8_t device, void** graph) {
  return guarded([&] { *graph = new Graph(device); });
}

char* bgm_graph_begin(void* graph) { return guarded([&] { static_cast<Graph*>(graph)->begin(); }); }

char* bgm_graph_end(void* graph) { return guarded([&] { static_cast<Graph*>(graph)->end(); }); }

char* bgm_graph_replay(void* graph) { return guarded([&] { static_cast<Graph*>(graph)->replay(); }); }

void bgm_graph_free(void* graph) { std::free(guarded([&] { delete static_cast<Graph*>(graph); })); }
}
