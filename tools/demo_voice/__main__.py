"""Make the bundled voice: python -m tools.demo_voice FOLDER [step …]

Steps, in order: corpus, content, t2s, sovits, export. Each goes on from where it was when it is started again; t2s and
sovits may run side by side, and export takes them as they are. README.md says what they do and how long they take.
"""

import argparse
import itertools
import os
from pathlib import Path

import torch

from sovits_rt.types import Ints
from tools.demo_voice import acoustic, content, corpus, export, generate_text, t2s
from tools.demo_voice.corpus import Utterance
from tools.demo_voice.training import device, save_atomically

HERE = Path(__file__).resolve().parent
SPEAKERS = {"rms": 1.0, "slt": 0.6}  # flite voice: share of the sentences that it speaks
GENERATED, WORD_STRINGS, SEED = 3400, 3000, 1
PARTS = ("sentences", "words")
STEPS = ("corpus", "content", "t2s", "sovits", "export")
BEGIN = "begin"  # an extra step behind the first: from the published weights
TARGET = HERE.parent.parent / "sovits_rt" / "data" / "voices" / "en"


def make_corpus(folder: Path) -> None:
    texts = (
        [*generate_text.load(HERE / "sentences.txt"), *generate_text.generate(GENERATED, SEED)],
        generate_text.word_strings(WORD_STRINGS, SEED),
    )
    for (voice, share), (part, sentences) in itertools.product(SPEAKERS.items(), zip(PARTS, texts, strict=True)):
        path = folder / f"{voice}-{part}.npz"
        if not path.exists():
            every = round(1 / (1 - share)) if share < 1 else 0
            kept = [each for index, each in enumerate(sentences) if not every or index % every]
            utterances = corpus.build(kept, voice, processes=os.cpu_count() or 1)
            corpus.save(utterances, path)
            minutes = sum(len(each.wave) for each in utterances) / corpus.RATE / 60
            print(f"{voice}, {part}: {len(utterances)} utterances, {minutes:.0f} minutes", flush=True)


def load_corpus(folder: Path) -> list[list[Utterance]]:
    return [corpus.load(*(folder / f"{voice}-{part}.npz" for part in PARTS)) for voice in SPEAKERS]


def make_content(folder: Path) -> None:
    speakers = load_corpus(folder)
    encoder = content.train_encoder(folder / "content.pt", speakers)
    if not (folder / "codes.pt").exists():
        content.make_codes(folder / "codes.pt", encoder, speakers)


def with_codes(folder: Path) -> tuple[torch.Tensor, list[list[tuple[Utterance, Ints]]]]:
    codebook, codes = content.load_codes(folder / "codes.pt")
    speakers, following = [], iter(codes)
    for speaker in load_corpus(folder):
        speakers.append([(utterance, next(following)) for utterance in speaker])
    return codebook, speakers


def make_t2s(folder: Path) -> None:
    t2s.train_t2s(folder / "t2s.pt", with_codes(folder)[1])


def make_sovits(folder: Path) -> None:
    codebook, speakers = with_codes(folder)
    encoder, _ = state(folder, "content", "encoder")
    projection = {name: encoder[f"ssl_proj.{name}"] for name in ("weight", "bias")}
    acoustic.train_sovits(folder / "sovits.pt", speakers, codebook, projection)


def begin(folder: Path) -> None:
    """States from the published weights, to train them further instead of beginning anew."""
    decoder, acoustics = (
        {name.removeprefix("model."): value.float() for name, value in torch.load(TARGET / file)["weight"].items()}
        for file in ("t2s.ckpt", "sovits.pth")
    )
    hubert = torch.load(TARGET / "hubert" / "pytorch_model.bin")
    encoder = {f"hubert.{name}": value.float() for name, value in hubert.items()}
    encoder |= {f"ssl_proj.{name}": acoustics[f"ssl_proj.{name}"] for name in ("weight", "bias")}
    for step, part, weights, done in (
        ("content", "encoder", encoder, content.STEPS),
        ("t2s", "t2s", decoder, 0),
        ("sovits", "sovits", acoustics, 0),
    ):
        save_atomically({"step": done, "parts": {part: weights}, "optimizers": {}}, folder / f"{step}.pt")
    network = content.ContentEncoder()
    network.load_state_dict(encoder)
    book = acoustics["quantizer.vq.layers.0._codebook.embed"]
    content.make_codes(folder / "codes.pt", network.to(device()).eval(), load_corpus(folder), book)


def state(folder: Path, step: str, part: str) -> tuple[dict[str, torch.Tensor], int]:
    """Weights of a training, finished or not, and the steps that it has done."""
    stored = torch.load(folder / f"{step}.pt", map_location="cpu", weights_only=True)
    return stored["parts"][part], stored["step"]


def make_export(folder: Path) -> None:
    encoder, _ = state(folder, "content", "encoder")
    decoder, decoder_steps = state(folder, "t2s", "t2s")
    acoustics, acoustic_steps = state(folder, "sovits", "sovits")
    export.export(
        TARGET,
        t2s=decoder,
        sovits=acoustics,
        hubert={name.removeprefix("hubert."): value for name, value in encoder.items() if name.startswith("hubert.")},
        info=f"decoder {decoder_steps} steps, SoVITS {acoustic_steps} steps",
        speakers=dict(zip(SPEAKERS, load_corpus(folder), strict=True)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the bundled voice; see README.md beside this file.")
    parser.add_argument("folder", type=Path, help="where data and training states go (about 1 GB)")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"some of {', '.join(STEPS)}; all if not given")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; all cores if not given")
    arguments = parser.parse_args()
    unknown = [step for step in arguments.steps if step not in (*STEPS, BEGIN)]
    if unknown:
        parser.error(f"{unknown[0]} is not a step; the steps are {', '.join(STEPS)}, and {BEGIN}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "corpus": make_corpus,
        "content": make_content,
        "t2s": make_t2s,
        "sovits": make_sovits,
        "export": make_export,
        "begin": begin,
    }
    for step in (STEPS[0], BEGIN, *STEPS[1:]):
        if step in (arguments.steps or STEPS):
            makers[step](arguments.folder)


if __name__ == "__main__":
    main()
