"""baicai-1145/GPT-SoVITS-CPUFast, a fork of upstream for processors: the same pipeline, called the same way.

python cpufast.py CHECKOUT [OPTION]
"""

import sys
from typing import Any

from _serve import serve
from upstream import Upstream


class CpuFast(Upstream):
    def _decoded(self, codes: Any, text: Any) -> Any:
        """With the voice's condition made beforehand, as its own pipeline has it."""
        network = self._tts.vits_model
        voice, voice_text = network.build_decode_condition(self._spectra, self._speakers)
        return network.decode(codes, text, None, noise_scale=0.0, ge=voice, ge_text=voice_text)


if __name__ == "__main__":
    serve(CpuFast(*sys.argv[1:]))
