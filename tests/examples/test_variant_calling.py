"""The pipeline of examples/variant-calling on its real reads, without a yard.

What a yard adds (array, dependency, containers) is tested where a yard is.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pysam
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "variant-calling"
DATA = EXAMPLE / "data"
SAMPLES = ("HG00100", "HG00101", "HG00102")


def execute(script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As a job that asks for 512 MiB gets it where there are no cgroups: of address space."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    clean |= {"DATA_DIR": str(DATA), "OPENBLAS_NUM_THREADS": "1"}
    limited = ["bash", "-c", 'ulimit -v 524288; exec "$@"', "bash"]
    return subprocess.run(
        [*limited, sys.executable, "-W", "error", str(EXAMPLE / script)],
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("variant-calling")
    for index in range(len(SAMPLES)):
        env = {"OUTPUT_DIR": str(output), "AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
        done = execute("call_sample.py", env)
        assert done.returncode == 0, done.stderr
    done = execute("merge_report.py", {"OUTPUT_DIR": str(output)})
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def alignment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_alignment", EXAMPLE / "alignment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected_rows() -> list[dict[str, str]]:
    lines = (DATA / "expected.tsv").read_text().splitlines()
    heads = lines[0].split("\t")
    return [dict(zip(heads, line.split("\t"), strict=True)) for line in lines[1:]]


def test_finds_exactly_the_sites_bcftools_is_sure_of(results: Path) -> None:
    wanted = [
        (int(row["position"]), row["ref"], row["alt"])
        for row in expected_rows()
        if float(row["qual"]) >= 20
    ]
    with pysam.VariantFile(str(results / "merged.vcf.gz")) as merged:
        found = [(record.pos, record.ref, *(record.alts or ())) for record in merged]
    assert found == wanted


def test_genotypes_it_is_sure_of_agree_with_bcftools(results: Path) -> None:
    """bcftools looks at the three samples together; here each is called alone, so only a genotype
    called with a quality of 15 or more must be the same."""
    expected = {int(row["position"]): row for row in expected_rows()}
    compared = 0
    for sample in SAMPLES:
        with pysam.VariantFile(str(results / sample / "variants.vcf.gz")) as calls:
            for record in calls:
                cell = record.samples[sample]
                if cell["GQ"] < 15:
                    continue
                genotype = "/".join(str(allele) for allele in cell["GT"])
                assert genotype == expected[record.pos][sample], (sample, record.pos)
                compared += 1
    assert compared >= 15


def test_bam_is_sorted_indexed_and_complete(results: Path) -> None:
    sources = tomllib.loads((DATA / "SOURCES.toml").read_text())
    for sample in sources["sample"]:
        path = results / sample["name"] / "aligned.bam"
        with pysam.AlignmentFile(str(path)) as bam:
            starts = [r.reference_start for r in bam.fetch() if not r.is_unmapped]
            assert starts == sorted(starts)
            assert bam.mapped / sample["reads"] > 0.95
            assert bam.mapped + bam.unmapped == sample["reads"]


def test_report_shows_every_sample_site_and_the_picture(results: Path) -> None:
    page = (results / "report.html").read_text()
    for sample in SAMPLES:
        assert sample in page
        assert f"{json.loads((results / sample / 'summary.json').read_text())['reads']:,}" in page
    for row in expected_rows():
        assert (f"17:{row['position']}<" in page) == (float(row["qual"]) >= 20)
    assert (results / "coverage-and-variants.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in page


def test_data_files_are_the_recorded_ones() -> None:
    sources = tomllib.loads((DATA / "SOURCES.toml").read_text())
    for entry in [*sources["sample"], sources["reference"]]:
        digest = hashlib.sha256((DATA / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"], entry["file"]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0"}, "OUTPUT_DIR is not set"),
        ({"OUTPUT_DIR": "x"}, "AWS_BATCH_JOB_ARRAY_INDEX is not set"),
        ({"OUTPUT_DIR": "x", "AWS_BATCH_JOB_ARRAY_INDEX": "3"}, "submit the array with size 3"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(env: dict[str, str], message: str) -> None:
    done = execute("call_sample.py", env)
    assert done.returncode == 1
    assert message in done.stderr


def test_merge_names_the_child_that_is_missing(tmp_path: Path) -> None:
    done = execute("merge_report.py", {"OUTPUT_DIR": str(tmp_path)})
    assert done.returncode == 1
    assert "child HG00100 did not finish" in done.stderr


@pytest.mark.parametrize(
    ("path", "read", "reference", "wanted"),
    [
        # an inserted A in a run of A moves to the front of the run, behind the anchor T
        ([(0, 5), (1, 1), (0, 2)], "GTAAAAAC", "GTAAAAC", [(0, 2), (1, 1), (0, 5)]),
        # a deleted CA of CACACA moves to the first CA
        ([(0, 5), (2, 2), (0, 3)], "GCACATTT", "GCACACATTT", [(0, 1), (2, 2), (0, 7)]),
        # a gap with one place only stays
        ([(0, 3), (2, 1), (0, 3)], "ACGACG", "ACGTACG", [(0, 3), (2, 1), (0, 3)]),
    ],
)
def test_gaps_move_left(
    alignment: ModuleType,
    path: list[tuple[int, int]],
    read: str,
    reference: str,
    wanted: list[tuple[int, int]],
) -> None:
    assert alignment.left_aligned(path, read, reference) == wanted


def test_a_read_is_placed_on_its_strand_and_its_doubt_is_told(alignment: ModuleType) -> None:
    reference = pysam.FastaFile(str(DATA / "reference.fa")).fetch("17").upper()
    read = reference[1000:1100]
    unique = alignment.Aligner(reference).align(alignment.reverse_complement(read))
    assert (unique.reverse, unique.ref_start, unique.ref_end) == (True, 1000, 1100)
    assert unique.cigar == [(0, 100)]
    assert unique.edits == 0
    assert unique.mapping_quality >= 40
    twice = alignment.Aligner(reference + read).align(read)
    assert twice.mapping_quality == 0
    assert alignment.Aligner(reference).align("ACGT" * 5) is None
