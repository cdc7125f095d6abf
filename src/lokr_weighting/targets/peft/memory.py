"""A forward for stock peft LoKr layers that never builds the Kronecker product.

kron(w1, w2) @ x is w1 applied to the outer and w2 to the inner dimension of x, reshaped to
(in_m, in_n) (Van Loan, "The ubiquitous Kronecker product", 2000). Stock peft builds the product for
every forward and keeps it, as large as the Linear's weight, until backward.
"""

from typing import Any

from peft.tuners.lokr.layer import Linear
from torch import Tensor, nn
from torch.nn import functional


class LeanLinear(Linear):
    """peft's LoKr Linear with the product applied factor by factor; its tensors are the same."""

    def _get_delta_activations(
        self,
        adapter_name: str,
        input: Tensor,  # noqa: A002 (peft's name)
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        if self.training and self.rank_dropout[adapter_name]:
            # drops rows of the product, so the product is needed
            return super()._get_delta_activations(adapter_name, input, *args, **kwargs)
        w1 = self._outer(adapter_name)
        x = self._cast_input_dtype(input, w1.dtype)
        x = x.reshape(*x.shape[:-1], w1.shape[1], -1)
        if adapter_name in self.lokr_w2:
            x = functional.linear(x, self.lokr_w2[adapter_name])
        else:
            x = functional.linear(x, self.lokr_w2_b[adapter_name])
            x = functional.linear(x, self.lokr_w2_a[adapter_name])
        x = functional.linear(x.transpose(-1, -2), w1).transpose(-1, -2)
        return x.flatten(-2) * self.scaling[adapter_name]

    def _outer(self, adapter_name: str) -> Tensor:
        if adapter_name in self.lokr_w1:
            return self.lokr_w1[adapter_name]
        return self.lokr_w1_a[adapter_name] @ self.lokr_w1_b[adapter_name]


def save_memory(model: nn.Module) -> int:
    """Let every stock LoKr Linear of a model run without building the Kronecker product.

    The same function: outputs and gradients differ by rounding alone. Tensors, files, merging and
    unmerging stay stock.

    Args:
        model: a PeftModel, or any model with LoKr adapters.

    Returns:
        how many Linears were changed.
    """
    layers = [module for module in model.modules() if type(module) is Linear]
    for layer in layers:
        layer.__class__ = LeanLinear
    return len(layers)
