"""Draw the figures of README and docs into docs/images: `python docs/draw.py [folder]`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from network_figures import discriminator, mapping, synthesis  # noqa: E402
from training_figures import averaging, losses, maps, schedule  # noqa: E402
from workflow import workflow  # noqa: E402

FIGURES = (workflow, mapping, synthesis, discriminator, maps, losses, schedule, averaging)


def main(folder: Path) -> None:
    """Write each figure as an SVG file into `folder`; the same code gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in FIGURES:
        (folder / f"{figure.__name__}.svg").write_text(figure().svg(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images")
