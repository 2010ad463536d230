"""What can't be spoken in one go, known before anything is loaded."""

from sovits_rt.errors import TextError
from sovits_rt.types import Sentence

MAX_PHONES = 4096  # of a sentence and the prompt together; upstream has no limit, real sentences stay below 500


def check_length(sentence: Sentence, prompt_phones: int) -> None:
    """Raises TextError for a sentence that is too long to be decoded after a prompt of so many phones."""
    phones = prompt_phones + len(sentence.ids)
    if phones > MAX_PHONES:
        raise TextError(
            f"The sentence that begins with {sentence.text[:20]!r} has {phones} phones with the prompt's, but "
            f"at most {MAX_PHONES} can be spoken at once; choose a --split method that cuts it."
        )
