"""What a teacher says about a token, packed and unpacked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from implementations.transfer.codecs import ZERO, LastHidden, SortedIds, TopK

INF = math.inf


def dense(logits, codec):
    """log P of every token, float64."""
    return (logits.double() / codec.temperature).log_softmax(-1)


def bucketed_kl(logits, codec):
    """KL(dense ‖ decoded) over the k entries and the tail, (N,)."""
    got = codec.decode(codec.encode(logits))
    log_p = dense(logits, codec)
    rest = log_p.scatter(-1, got["ids"], -INF).logsumexp(-1, keepdim=True)
    log_p = torch.cat([log_p.gather(-1, got["ids"]), rest], -1)
    log_q = torch.cat([got["log_probs"], got["tail"].log().unsqueeze(-1)], -1).double()
    return (log_p.exp() * (log_p - log_q)).nansum(-1)


@st.composite
def cases(draw):
    """A codec and logits (N, V): flat or peaked, with ties, with entries that cannot occur."""
    codec = TopK(draw(st.integers(1, 60)), draw(st.integers(1, 400)), draw(st.sampled_from([0.5, 1.0, 2.0, 7.0])))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    logits = torch.randn(draw(st.integers(0, 5)), codec.vocabulary, generator=generator)
    logits *= draw(st.sampled_from([0.0, 1e-9, 0.1, 3.0, 30.0, 1e6, 1e30]))
    if draw(st.booleans()):
        logits = logits.round()  # ties
    ruled_out = torch.rand(logits.shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.99]))
    ruled_out[:, draw(st.integers(0, codec.vocabulary - 1))] = False  # something must be able to occur
    return codec, logits.masked_fill(ruled_out, -INF).to(draw(st.sampled_from([torch.float32, torch.bfloat16])))


@settings(max_examples=300, deadline=None)
@given(cases())
@example((TopK(3, 3), torch.tensor([[0.0, -INF, 1.0]])))
@example((TopK(5, 3), torch.tensor([[-1e30, 0.0, 1e30]])))
@example((TopK(2, 4), torch.tensor([[0.0, -103.0, -104.5, -105.0]])))
def test_a_round_trip(case):
    codec, logits = case
    packed = codec.encode(logits)
    assert packed.dtype == np.uint8 and packed.shape == (len(logits), codec.bytes_per_token)
    got = codec.decode(packed)
    ids, log_probs, tail = got["ids"], got["log_probs"], got["tail"]
    kept = min(codec.k, codec.vocabulary)
    assert ids.shape == log_probs.shape == (len(logits), kept) and tail.shape == (len(logits),)
    assert (ids.dtype, log_probs.dtype, tail.dtype) == (torch.int64, torch.float32, torch.float32)

    # The ids are the k most probable ones, whichever of equals, each once, ascending.
    assert ((ids >= 0) & (ids < codec.vocabulary)).all() and (ids.diff() > 0).all()
    assert torch.equal(logits.gather(-1, ids).sort(descending=True).values, logits.topk(kept).values)

    # Everything adds up to 1.
    torch.testing.assert_close(log_probs.exp().sum(-1) + tail, torch.ones(len(logits)), rtol=0, atol=1e-6)
    assert kept < codec.vocabulary or not tail.any()

    # Depths below the maximum are right to a grid step, and what cannot occur is −inf.
    log_p = dense(logits, codec)
    depth = log_p.amax(-1, keepdim=True) - log_p.gather(-1, ids)
    decoded = log_probs.amax(-1, keepdim=True) - log_probs
    assert torch.equal(decoded.isposinf(), depth.float() > ZERO)
    near = depth.where(depth.float() <= ZERO, 0)
    reach = near.amax(-1, keepdim=True) if len(logits) else near
    code = torch.where(reach > 0, (near / reach) ** (2 / 3), 0) * 254
    step = 0.75 * reach * (code + 1).sqrt() / 254**1.5
    assert ((decoded.where(depth.float() <= ZERO, 0) - near).abs() <= 1.001 * step + 1e-4 * near + 1e-7).all()

    # The tail's logarithm is right to float16, as far as float32 holds its exponential in full.
    log_tail = log_p.scatter(-1, ids, -INF).logsumexp(-1)
    seen = (log_tail > -87) & (log_tail < -1e-3)
    assert ((tail.double().log() - log_tail)[seen].abs() <= 1e-3 * log_tail[seen].abs() + 1e-4).all()


def test_the_ids_are_those_of_topk_when_no_two_logits_are_equal():
    logits = torch.stack([torch.randperm(49_152, generator=torch.Generator().manual_seed(i)) for i in range(9)]) / 1e3
    codec = TopK(50, 49_152)
    assert torch.equal(codec.decode(codec.encode(logits))["ids"], logits.topk(50).indices.sort().values)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_one_token_is_certain(k):
    logits = torch.full((1, 9), -INF)
    logits[0, 5] = 3.0
    codec = TopK(k, 9)
    got = codec.decode(codec.encode(logits))
    assert got["tail"] == 0
    assert dict(zip(got["ids"][0].tolist(), got["log_probs"][0].tolist(), strict=True))[5] == 0
    assert got["log_probs"].isneginf().sum() == k - 1


def test_a_tail_of_nearly_everything():
    """k / V is what float16 can just tell from 0; the mass of the kept entries must survive that."""
    codec = TopK(1, 100_000)
    got = codec.decode(codec.encode(torch.zeros(1, 100_000)))
    assert got["log_probs"].exp().item() == pytest.approx(1e-5, rel=0.01)


@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [INF, 0.0, 1.0], [-INF, -INF, -INF]])
@pytest.mark.parametrize("k", [1, 3])
def test_what_is_no_distribution_is_refused(bad, k):
    with pytest.raises(ValueError, match="no distribution"):
        TopK(k, 3).encode(torch.tensor([[0.0, 1.0, 2.0], bad]))


def test_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="logits of 4 tokens; this codec is of 3"):
        TopK(2, 3).encode(torch.zeros(1, 4))


@pytest.mark.parametrize("arguments", [(0, 9), (1, 0), (1, 9, 0.0), (1, 9, math.nan)])
def test_a_codec_that_makes_no_sense(arguments):
    with pytest.raises(ValueError, match="give"):
        TopK(*arguments)


def test_sizes_reach_their_goals():
    assert TopK(50, 49_152).bytes_per_token == 129
    assert LastHidden(576).bytes_per_token == 1152


@given(st.integers(1, 300), st.integers(1, 300_000))
def test_sorted_ids_take_two_bits_and_the_logarithm_of_their_mean_gap(count, bound):
    count = min(count, bound)
    assert SortedIds(count, bound).bits <= count * (2 + math.log2(bound / count)) + 1


@pytest.mark.parametrize(("count", "bound"), [(1, 1), (7, 7), (1, 2**20), (3, 262_144), (50, 151_936)])
def test_sorted_ids_at_the_ends_of_their_range(count, bound):
    codec = SortedIds(count, bound)
    ids = np.stack([np.arange(count), np.arange(bound - count, bound)])
    packed = codec.pack(ids)
    assert packed.shape == (2, codec.bytes)
    assert np.array_equal(codec.unpack(packed), ids)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_what_quantization_costs(slope):
    """Zipf-like rows, from flat to peaked. Measured: at most 1.3e-5 nats in the mean and 4.6e-5 in a row."""
    generator = torch.Generator().manual_seed(0)
    logits = -slope * torch.arange(1, 10_001).log() + torch.randn(200, 10_000, generator=generator)
    divergence = bucketed_kl(logits, TopK(50, 10_000))
    assert divergence.mean() < 2e-5
    assert divergence.max() < 6e-5


@given(st.integers(0, 5), st.integers(1, 40), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_hidden_states_are_kept_to_bfloat16(tokens, width, dtype):
    hidden = torch.randn(tokens, width).to(dtype)
    codec = LastHidden(width)
    packed = codec.encode(hidden)
    assert packed.dtype == np.uint8 and packed.shape == (tokens, codec.bytes_per_token)
    assert torch.equal(codec.decode(packed)["teacher_hidden"], hidden.bfloat16())


def test_hidden_states_that_cannot_be_kept():
    with pytest.raises(ValueError, match="3 wide; this codec is of 4"):
        LastHidden(4).encode(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        LastHidden(2).encode(torch.tensor([[0.0, INF]]))


def test_names_tell_codecs_apart():
    codecs = [TopK(50, 900), TopK(49, 900), TopK(50, 901), TopK(50, 900, 2.0), LastHidden(900), LastHidden(901)]
    assert len({codec.name for codec in codecs}) == len(codecs)
    assert TopK(50, 900, 1).name == TopK(50, 900).name
