"""The head and its loss in chunks, against the dense form."""

from __future__ import annotations

import pytest
import torch

from implementations.transfer.losses.divergence import forward_kl, generalized_jsd
from implementations.transfer.losses.head import fitting_chunk, head_loss

N, H, V = 23, 16, 40


@pytest.fixture
def tensors():
    """Hidden states and heads of student and teacher, float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((N, H), (V, H), (N, 2 * H), (V, 2 * H))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def divergence(teacher_hidden, teacher_head):
    """Forward KL from a teacher whose logits are made chunk by chunk as well."""

    def loss(logits, rows):
        return forward_kl(logits, teacher_hidden[rows] @ teacher_head.T, temperature=2.0)

    return loss


def gradients(hidden, head, loss, chunk, scale=1.0):
    hidden, head = hidden.clone().requires_grad_(), head.clone().requires_grad_()
    value = head_loss(hidden, head, loss, chunk)
    return value.detach(), *torch.autograd.grad(scale * value, (hidden, head))


@pytest.mark.parametrize("chunk", [1, 7, N - 1, N, N + 5])
def test_chunks_give_the_dense_value_and_gradients(tensors, chunk):
    hidden, head, *teacher = (x.float() for x in tensors)
    loss = divergence(*teacher)
    dense, chunked = (gradients(hidden, head, loss, c, scale=0.3) for c in (None, chunk))
    for a, b in zip(dense, chunked, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6 * float(a.abs().max()))


def test_gradcheck(tensors):
    hidden, head, *teacher = tensors
    loss = divergence(*teacher)
    inputs = (hidden[:5].requires_grad_(), head.requires_grad_())
    assert torch.autograd.gradcheck(lambda h, w: head_loss(h, w, loss, 2), inputs)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_needs_no_gradient_gets_none(tensors, frozen):
    hidden, head, *teacher = tensors
    both = [hidden.requires_grad_(frozen != 0), head.requires_grad_(frozen != 1)]
    head_loss(*both, divergence(*teacher), 4).backward()
    assert both[frozen].grad is None
    assert both[1 - frozen].grad.abs().sum() > 0


def test_no_token_carries_loss(tensors):
    hidden, head, *teacher = tensors
    for chunk in (None, 4):
        value, of_hidden, of_head = gradients(hidden[:0], head, divergence(teacher[0][:0], teacher[1]), chunk)
        assert value == 0 and of_hidden.shape == (0, H) and not of_head.any()


def test_chunks_are_all_that_the_loss_ever_sees(tensors):
    hidden, head, teacher_hidden, teacher_head = tensors
    seen = []

    def loss(logits, rows):
        seen.append((tuple(logits.shape), rows))
        return generalized_jsd(logits, teacher_hidden[rows] @ teacher_head.T, 0.5)

    gradients(hidden, head, loss, 10)
    assert seen == [((10, V), slice(0, 10)), ((10, V), slice(10, 20)), ((3, V), slice(20, 23))]


def test_bfloat16_autocast_is_close_to_dense_autocast(tensors):
    hidden, head, *teacher = (x.float() for x in tensors)
    with torch.autocast("cpu", torch.bfloat16):
        dense, chunked = (gradients(hidden, head, divergence(*teacher), chunk) for chunk in (None, 8))
    for a, b in zip(dense, chunked, strict=True):
        assert b.dtype == a.dtype == torch.float32
        torch.testing.assert_close(b, a, rtol=0, atol=2**-7 * float(a.abs().max()))


def test_a_second_derivative_is_refused(tensors):
    hidden, head, *teacher = tensors
    hidden.requires_grad_()
    (slope,) = torch.autograd.grad(head_loss(hidden, head, divergence(*teacher), 4), hidden, create_graph=True)
    with pytest.raises(RuntimeError):
        slope.sum().backward()


def test_the_chunk_follows_from_the_memory_that_is_free():
    one_token = 6 * 4 * 50_000
    assert fitting_chunk(1000, 50_000, 1000 * one_token) is None
    assert fitting_chunk(1000, 50_000, 999 * one_token) == 896
    assert fitting_chunk(1000, 50_000, 0) == 128


def test_a_chunk_of_nothing_is_refused(tensors):
    with pytest.raises(ValueError, match="chunks of 0 tokens; give 1 or more"):
        head_loss(tensors[0], tensors[1], divergence(*tensors[2:]), 0)
