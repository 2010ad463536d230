import pytest
import torch

from sovits_rt.nn.bert import Bert, BertConfig, unused

SMALL = BertConfig(vocabulary=40, positions=16, hidden=32, feed_forward=48, heads=4, layers=2)
HUGGINGFACE = {
    "vocab_size": 21128,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "layer_norm_eps": 1e-12,
}


def test_defaults_are_those_of_the_published_model():
    assert BertConfig.from_huggingface(HUGGINGFACE) == BertConfig()


@pytest.mark.parametrize(
    ("change", "message"), [({"hidden_act": "relu"}, "hidden_act 'relu'"), ({"num_hidden_layers": 2}, "has 2 layers")]
)
def test_another_variant_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        BertConfig.from_huggingface({**HUGGINGFACE, **change})


def test_the_last_two_layers_are_unused():
    layers = [name for name in unused(BertConfig(), stored_layers=24) if name.startswith("encoder.layer.")]
    assert layers == ["encoder.layer.22.", "encoder.layer.23."]


@torch.inference_mode()
def test_a_masked_row_equals_that_row_alone(fill, random):
    bert = fill(Bert(SMALL))
    ids = torch.randint(40, (2, 12), generator=random)
    mask = torch.arange(12) < torch.tensor([[12], [7]])
    out = bert(ids, mask)
    difference = (out[1, :7] - bert(ids[1:, :7])[0]).abs().max()
    print(f"largest difference {difference:.1e}")
    assert out.shape == (2, 12, 32)
    assert difference < 1e-5
    assert (out[1, :7] - bert(ids)[1, :7]).abs().max() > 1e-3  # the mask is what made them equal


def test_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match="at most 16 tokens at once, but got 17"):
        Bert(SMALL)(torch.zeros(1, 17, dtype=torch.long))
