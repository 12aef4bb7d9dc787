"""The pipeline of examples/variant-calling on its real reads, without a yard.

What a yard adds (array, dependency, containers) is tested where a yard is.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "variant-calling"
DATA = EXAMPLE / "data"
PEOPLE = ("HG00100", "HG00101", "HG00102")
PHAGE = "phage-lambda"
SAMPLES = (*PEOPLE, PHAGE)


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


def load(name: str) -> ModuleType:
    """A script of the example as a module; jobs run them as programs, so they are no package."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def alignment() -> ModuleType:
    return load("alignment")


@pytest.fixture(scope="module")
def genotypes() -> ModuleType:
    return load("genotypes")


def read_fasta(path: Path) -> tuple[str, list[str]]:
    """By hand, because pysam would leave an index beside the file."""
    head, *lines = path.read_text().splitlines()
    return head[1:].split()[0], list("".join(lines).upper())


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
    for sample in PEOPLE:
        with pysam.VariantFile(str(results / sample / "variants.vcf.gz")) as calls:
            for record in calls:
                cell = record.samples[sample]
                if cell["GQ"] < 15:
                    continue
                genotype = "/".join(str(allele) for allele in cell["GT"])
                assert genotype == expected[record.pos][sample], (sample, record.pos)
                compared += 1
    assert compared >= 15


def test_the_control_has_no_variant(results: Path) -> None:
    """DNA and reference are of one strain: what is called there would be a mistake."""
    with pysam.VariantFile(str(results / PHAGE / "variants.vcf.gz")) as calls:
        assert list(calls) == []
    summary = json.loads((results / PHAGE / "summary.json").read_text())
    assert summary["molecules"] == 48
    assert 0.3 < summary["covered_fraction"] < 0.5
    assert 0.02 < summary["deep_enough_fraction"] < 0.05


def test_long_reads_land_where_pacbio_put_them(results: Path) -> None:
    lines = (DATA / "expected-placement.tsv").read_text().splitlines()[1:]
    expected = [line.split("\t") for line in lines]
    with pysam.AlignmentFile(str(results / PHAGE / "aligned.bam")) as bam:
        ours = {read.query_name: read for read in bam if not read.is_unmapped}
    close = 0
    for name, strand, start, end in expected:
        read = ours.get(name)
        close += (
            read is not None
            and read.is_reverse == (strand == "-")
            and abs(read.reference_start - int(start)) <= 50
            and abs((read.reference_end or 0) - int(end)) <= 50
        )
    assert len(expected) == 112
    assert close / len(expected) >= 0.95


def test_finds_what_was_altered_in_the_reference_and_nothing_else(
    results: Path, tmp_path: Path
) -> None:
    """The real reads against references that are wrong in known places that are deep enough."""
    summary = json.loads((results / PHAGE / "summary.json").read_text())
    rows = (results / PHAGE / "coverage.tsv").read_text().splitlines()[1:]
    depths = [int(row.rsplit("\t", 1)[1]) for row in rows]
    deep = [position for position, depth in enumerate(depths) if depth >= summary["min_depth"]]
    altered = found = 0
    for offset in (0, 10, 20):
        # Far enough apart for one change not to move the alignment at the next.
        places = {position for position in deep if position % 30 == offset}
        calls = called_against_altered(places, tmp_path / str(offset))
        assert calls <= places
        altered, found = altered + len(places), found + len(calls)
    assert altered > 100
    assert found / altered >= 0.9


def called_against_altered(places: set[int], folder: Path) -> set[int]:
    """Where the phage's reads differ from its reference after one letter was changed at each."""
    data = folder / "data"
    shutil.copytree(DATA, data)
    reference = data / "reference" / "phage-lambda.fa"
    contig, bases = read_fasta(reference)
    for position in places:
        bases[position] = bases[position].translate(str.maketrans("ACGT", "CATG"))
    reference.write_text(f">{contig}\n{''.join(bases)}\n")
    env = {"DATA_DIR": str(data), "OUTPUT_DIR": str(folder), "AWS_BATCH_JOB_ARRAY_INDEX": "3"}
    done = execute("call_sample.py", env)
    assert done.returncode == 0, done.stderr
    with pysam.VariantFile(str(folder / PHAGE / "variants.vcf.gz")) as calls:
        records = list(calls)
    assert {record.samples[PHAGE]["GT"] for record in records} == {(1,)}
    return {record.start for record in records}


def test_merged_vcf_knows_both_references_and_every_sample(results: Path) -> None:
    with pysam.VariantFile(str(results / "merged.vcf.gz")) as merged:
        assert list(merged.header.contigs) == ["17", "lambda_NEB3011"]
        assert tuple(merged.header.samples) == SAMPLES
        for record in merged:
            # The phage was not compared with chromosome 17.
            assert record.samples[PHAGE]["GT"] == (None, None)


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
    for entry in [*sources["sample"], *sources["reference"], *sources["expected"]]:
        digest = hashlib.sha256((DATA / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"], entry["file"]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0"}, "OUTPUT_DIR is not set"),
        ({"OUTPUT_DIR": "x"}, "AWS_BATCH_JOB_ARRAY_INDEX is not set"),
        ({"OUTPUT_DIR": "x", "AWS_BATCH_JOB_ARRAY_INDEX": "4"}, "submit the array with size 4"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(env: dict[str, str], message: str) -> None:
    done = execute("call_sample.py", env)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("table", "before", "after", "message"),
    [
        ("samples.tsv", "ILLUMINA", "SANGER", "platform 'SANGER'"),
        ("references.tsv", "human-17.fa\t2", "human-17.fa\t8", "with the ploidy 1 or 2"),
        ("references.tsv", "human-17.fa", "human-18.fa", "no row for reference/human-17.fa"),
    ],
)
def test_a_wrong_table_is_named(
    tmp_path: Path, table: str, before: str, after: str, message: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(DATA, data)
    text = (data / table).read_text()
    assert before in text
    (data / table).write_text(text.replace(before, after))
    env = {"DATA_DIR": str(data), "OUTPUT_DIR": str(tmp_path), "AWS_BATCH_JOB_ARRAY_INDEX": "0"}
    done = execute("call_sample.py", env)
    assert done.returncode == 1
    assert message in done.stderr
    assert str(data / table) in done.stderr


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
    reference = "".join(read_fasta(DATA / "reference" / "human-17.fa")[1])
    read = reference[1000:1100]
    unique = alignment.Aligner(reference).align(alignment.reverse_complement(read))
    assert (unique.reverse, unique.ref_start, unique.ref_end) == (True, 1000, 1100)
    assert unique.cigar == [(0, 100)]
    assert unique.edits == 0
    assert unique.mapping_quality >= 40
    twice = alignment.Aligner(reference + read).align(read)
    assert twice.mapping_quality == 0
    assert alignment.Aligner(reference).align("ACGT" * 5) is None


def test_one_chromosome_has_two_genotypes(genotypes: ModuleType) -> None:
    error = genotypes.error_of(12)
    assert genotypes.call([], [error] * 6, ploidy=1).genotype == (1,)
    assert genotypes.call([error] * 6, [], ploidy=1).genotype == (0,)
    # One doubtful read is not enough against the prior.
    assert genotypes.call([], [error], ploidy=1).genotype == (0,)
    assert genotypes.call([error] * 6, [error] * 6, ploidy=2).genotype == (0, 1)


@given(
    ref=st.lists(st.integers(2, 40), max_size=30),
    alt=st.lists(st.integers(2, 40), max_size=30),
    ploidy=st.sampled_from([1, 2]),
)
def test_another_read_of_the_variant_never_makes_it_less_likely(
    ref: list[int], alt: list[int], ploidy: int
) -> None:
    model = load("genotypes")
    errors = [[model.error_of(quality) for quality in one] for one in (ref, alt)]
    before = model.call(*errors, ploidy=ploidy)
    after = model.call(errors[0], [*errors[1], model.error_of(20)], ploidy=ploidy)
    assert len(before.genotype) == ploidy
    assert after.qual >= before.qual - 1e-6
