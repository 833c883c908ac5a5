// What libtorch offers and tch does not wrap: process-wide numerical switches and the
// fused SGD step. Every function returns null on success, else a message that the caller
// frees with bgm_free.

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <exception>
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
}
