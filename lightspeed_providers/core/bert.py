"""BERT's forward pass without a framework around it, for texts that are few and short or many.

The framework's own takes 13 ms for one question where this takes 5: at a dozen tokens time goes
into reading weights, and float16 weights (computed in float32) are half as much to read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_FEW_TOKENS = 24
"""Up to so many tokens reading weights takes longer than computing with them."""
_MANY_TOKENS = 256
"""From so many tokens on, computing in fewer bits pays."""

Linear = Callable[[Tensor], Tensor]
_Weights = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class _Layer:
    query_key_value: Linear
    attended: Linear
    attention_norm: _Norm
    widened: Linear
    narrowed: Linear
    output_norm: _Norm


class Bert:
    """The weights of a BertModel, laid out for the ways in which texts come."""

    def __init__(self, model: Any, *, bfloat16: bool) -> None:  # Any: transformers has no types
        parts = model.embeddings
        self._device = parts.word_embeddings.weight.device
        self._words = parts.word_embeddings.weight.detach()
        # A text on its own is all of the first kind, so the kind is a part of the position.
        self._positions = (
            parts.position_embeddings.weight + parts.token_type_embeddings.weight[0]
        ).detach()
        self._norm = _norm(parts.LayerNorm)
        self._heads = int(model.config.num_attention_heads)
        self._usual = _layers(model, _transposed)
        on_cpu = self._device.type == "cpu"
        self._few = _layers(model, _half_stored) if on_cpu and _packs_halves() else self._usual
        self._many = _layers(model, _in_bfloat16) if bfloat16 else self._usual

    @torch.inference_mode()
    def vectors(self, token_lists: Sequence[Sequence[int]]) -> Tensor:
        """Return one row of length 1 a text: the mean of its tokens."""
        tokens, present = _padded(token_lists)
        tokens = tokens.to(self._device)
        mask = None if present is None else present.to(self._device)
        last = self._last_hidden(tokens, mask)
        if mask is None:
            mean = last.mean(1)
        else:
            weights = mask.unsqueeze(-1).to(last.dtype)
            mean = (last * weights).sum(1) / weights.sum(1)
        return functional.normalize(mean, dim=-1).cpu()

    def _last_hidden(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        texts, length = tokens.shape
        x = self._norm(functional.embedding(tokens, self._words) + self._positions[:length])
        seen = None if mask is None else mask[:, None, None, :]
        for layer in self._layers_for(texts * length):
            heads = layer.query_key_value(x).view(texts, length, 3, self._heads, -1)
            query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
            attention = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
            joined = attention.transpose(1, 2).reshape(x.shape)
            x = layer.attention_norm(layer.attended(joined) + x)
            x = layer.output_norm(layer.narrowed(functional.gelu(layer.widened(x))) + x)
        return x

    def _layers_for(self, tokens: int) -> list[_Layer]:
        if tokens <= _FEW_TOKENS:
            return self._few
        return self._many if tokens >= _MANY_TOKENS else self._usual


def _layers(model: Any, linear: Callable[[Tensor, Tensor], Linear]) -> list[_Layer]:
    return [
        _Layer(
            query_key_value=linear(*_joined(layer.attention.self)),
            attended=linear(*_weights(layer.attention.output.dense)),
            attention_norm=_norm(layer.attention.output.LayerNorm),
            widened=linear(*_weights(layer.intermediate.dense)),
            narrowed=linear(*_weights(layer.output.dense)),
            output_norm=_norm(layer.output.LayerNorm),
        )
        for layer in model.encoder.layer
    ]


def _weights(module: Any) -> _Weights:  # Any: a module's members have no types
    return module.weight.detach(), module.bias.detach()


def _joined(attention: Any) -> _Weights:  # Any: as above
    parts = [_weights(part) for part in (attention.query, attention.key, attention.value)]
    return torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])


def _norm(module: Any) -> _Norm:  # Any: as above
    return _Norm(*_weights(module), float(module.eps))


def _transposed(weight: Tensor, bias: Tensor) -> Linear:
    """The same numbers in the layout that small multiplications read in order."""
    turned = weight.t().contiguous()

    def linear(x: Tensor) -> Tensor:
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), turned).view(*x.shape[:-1], -1)

    return linear


def _half_stored(weight: Tensor, bias: Tensor) -> Linear:
    """Weights kept in float16 and computed with in float32."""
    packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)
    apply = torch.ops.quantized.linear_dynamic_fp16

    def linear(x: Tensor) -> Tensor:
        result: Tensor = apply(x, packed)
        return result

    return linear


def _in_bfloat16(weight: Tensor, bias: Tensor) -> Linear:
    """Computed in bfloat16; what is added to the result stays float32."""
    short_weight, short_bias = weight.bfloat16(), bias.bfloat16()

    def linear(x: Tensor) -> Tensor:
        return functional.linear(x.bfloat16(), short_weight, short_bias)

    return linear


def _packs_halves() -> bool:
    return "fbgemm" in torch.backends.quantized.supported_engines and hasattr(
        torch.ops.quantized, "linear_prepack_fp16"
    )


def _padded(token_lists: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
    """Tokens as one table, and which of its cells are text where some are not."""
    longest = max(len(tokens) for tokens in token_lists)
    if all(len(tokens) == longest for tokens in token_lists):
        return torch.tensor(token_lists), None
    lengths = torch.tensor([len(tokens) for tokens in token_lists])
    table = torch.tensor([[*tokens, *[0] * (longest - len(tokens))] for tokens in token_lists])
    return table, torch.arange(longest) < lengths[:, None]
