"""The page in a browser: no messages, no overflow, light and dark."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from recbole_missrec.report.write import write_report
from tests.report.folders import NASTY, planned, write_comparison, write_plan, write_run

FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr"
WIDTHS = (360, 1280)
# The page in a frame of each width; their measures become the title.
PROBE = """<!doctype html><title></title>{frames}<script>
addEventListener("load", () => {{
  document.title = [...document.querySelectorAll("iframe")].map(frame => {{
    const root = frame.contentDocument.documentElement;
    const body = getComputedStyle(frame.contentDocument.body);
    return [root.clientWidth, root.scrollWidth, body.backgroundColor, body.color].join(" ");
  }}).join(" / ");
}});
</script>"""


def browse(page: Path, *flags: str) -> tuple[str, list[str]]:
    """What a browser makes of a page, and what it says on its console."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.fail("the tests of the page need chromium: apt-get install chromium")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [browser, *FLAGS.split(), "--dump-dom", profile, *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


def measure(report: Path, *flags: str) -> list[list[str]]:
    """Width, width of the content, background and ink in a frame of each of `WIDTHS`."""
    text = html.escape(report.read_text(encoding="utf-8"))
    frames = "".join(f'<iframe width={width} srcdoc="{text}"></iframe>' for width in WIDTHS)
    probe = report.parent / "probe.html"
    probe.write_text(PROBE.format(frames=frames), encoding="utf-8")
    dom, said = browse(probe, *flags)
    assert said == []
    (title,) = re.findall("<title>(.*?)</title>", dom)[:1]
    return [re.findall(r"rgba?\([^)]*\)|\S+", measures) for measures in title.split(" / ")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with names that are long and hostile."""
    out = tmp_path_factory.mktemp("comparison")
    write_comparison(out)
    long = planned("MISSRec:" + "long_" * 20, 1, "e1", "another" * 12)
    write_run(out, long, [0, 1, 2], config={NASTY: "x" * 200}, versions={"long": "y" * 300})
    other = planned("SASRec", 1, "f1", "another" * 12)
    write_run(out, other, [0, 9, 20])
    missing = planned("SASRec", 2, "f2", "another" * 12)
    error = '{"label": "SASRec", "model": "SASRec", "dataset": "%s", "seed": 2, "error": "%s"}'
    (out / "f2.error.json").write_text(error % ("another" * 12, "/a/path/" * 60))
    first = [planned("MISSRec", 1, "a1"), planned("SASRec", 1, "b1"), planned("GRU4Rec", 1, "d1")]
    write_plan(out, [*first, long, other, missing])
    return write_report(out)[0]


@pytest.mark.slow
def test_nothing_is_said_on_the_console(report: Path) -> None:
    dom, said = browse(report)
    assert said == []
    assert dom.count("<svg") > 20
    # and it would be: the policy of the page lets nothing in
    spoilt = report.with_name("spoilt.html")
    image = '<main id="content"><img src="http://localhost:1/x.png" alt="">'
    spoilt.write_text(report.read_text().replace('<main id="content">', image))
    assert "violates the following Content Security Policy" in browse(spoilt)[1][0]


@pytest.mark.slow
def test_it_fits_a_telephone_and_a_desk_in_light_and_dark(report: Path) -> None:
    light = measure(report, "--blink-settings=preferredColorScheme=1")
    dark = measure(report, "--blink-settings=preferredColorScheme=0")
    for measures in (light, dark):
        assert [shown[0] for shown in measures] == ["360", "1280"]
        assert all(shown[1] == shown[0] for shown in measures)
    assert light[0][2:] == light[1][2:] == ["rgb(252, 251, 248)", "rgb(29, 28, 26)"]
    assert dark[0][2:] == dark[1][2:] == ["rgb(23, 22, 20)", "rgb(233, 229, 220)"]
