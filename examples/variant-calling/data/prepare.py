#!/usr/bin/env python3
"""Rebuild reference/, reads/ and expected-placement.tsv from two Debian packages.

Nobody needs this to run the pipeline: its results are in the repository. It is here so that
"what was done to the data" is a program and not a promise:

    apt-get download samtools-test python3-pbcore     # the versions are in SOURCES.toml
    for deb in *.deb; do dpkg-deb -x "$deb" unpacked; done
    python3 prepare.py unpacked

The same input gives the same bytes (gzip without a time). Needs pysam, to read PacBio's BAM.
"""

import gzip
import hashlib
import math
import sys
from pathlib import Path

import pysam

HERE = Path(__file__).resolve().parent
Read = tuple[str, str, str]
"""Name, bases and qualities, as sequenced."""

HUMAN = Path("usr/share/samtools/test/dat")
ALIGNMENTS = ("mpileup.1.sam", "mpileup.2.sam", "mpileup.3.sam")
REVERSE, SECOND, NOT_PRIMARY = 0x10, 0x80, 0x100 | 0x800
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")

LAMBDA = Path("usr/lib/python3/dist-packages/pbcore/data")
MOVIE = "m140905_042212_sidney_c100564852550000001823085912221377_s1_X0"
# The sequencer's own estimates: of an inserted, a missing, a wrong and a swallowed base.
QUALITY_TAGS = ("iq", "dq", "sq", "mq")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    for needed in (source / HUMAN, source / LAMBDA):
        if not needed.is_dir():
            sys.exit(f"prepare: {needed} does not exist; unpack both packages into {source}")
    for name in ("reads", "reference"):
        (HERE / name).mkdir(exist_ok=True)
    copy(source / HUMAN / "mpileup.ref.fa", "reference/human-17.fa")
    copy(source / LAMBDA / "lambdaNEB.fa", "reference/phage-lambda.fa")
    for alignment in ALIGNMENTS:
        sample, reads = human_reads(source / HUMAN / alignment)
        write_fastq(sample, reads)
    write_fastq("phage-lambda", lambda_reads(source / LAMBDA / f"{MOVIE}.subreads.bam"))
    write_placement(source / LAMBDA / f"{MOVIE}.aligned_subreads.bam")


def human_reads(alignment: Path) -> tuple[str, list[Read]]:
    """The sample's name and its reads; /1 and /2 at the end of a name tell mates apart."""
    samples = set()
    reads = []
    for line in alignment.read_text().splitlines():
        fields = line.split("\t")
        if fields[0] == "@RG":
            samples |= {field[3:] for field in fields if field.startswith("SM:")}
        if fields[0].startswith("@"):
            continue
        name, flag, bases, qualities = fields[0], int(fields[1]), fields[9], fields[10]
        if flag & NOT_PRIMARY:
            continue
        if flag & REVERSE:
            # A SAM file shows a read on the reference's strand; a FASTQ file as it was read.
            bases, qualities = bases.translate(COMPLEMENT)[::-1], qualities[::-1]
        reads.append((name, 2 if flag & SECOND else 1, bases, qualities))
    if len(samples) != 1:
        sys.exit(f"{alignment}: expected one sample in its @RG lines, found {sorted(samples)}")
    named = [(f"{name}/{mate}", bases, quality) for name, mate, bases, quality in sorted(reads)]
    return samples.pop(), named


def lambda_reads(subreads: Path) -> list[Read]:
    """Subreads in the order of their wells; the name is movie/well/start_end."""
    found = []
    with pysam.AlignmentFile(str(subreads), check_sq=False) as bam:
        for read in bam:
            # An empty row would be a broken FASTQ entry; there is none in this file.
            assert read.query_name is not None
            assert read.query_sequence is not None
            estimates = zip(*(str(read.get_tag(tag)) for tag in QUALITY_TAGS), strict=True)
            qualities = "".join(quality_letter(letters) for letters in estimates)
            found.append((read.query_name, read.query_sequence, qualities))
    return found


def quality_letter(estimates: tuple[str, ...]) -> str:
    """One Phred letter for "some error here": the probabilities of the four kinds, added."""
    error = sum(10 ** (-(ord(letter) - 33) / 10) for letter in estimates)
    return chr(33 + max(1, round(-10 * math.log10(min(1.0, error)))))


def write_placement(aligned: Path) -> None:
    """Where PacBio's own aligner (BLASR) put each read: what the tests compare with."""
    rows = ["read\tstrand\tstart\tend"]
    with pysam.AlignmentFile(str(aligned)) as bam:
        for read in sorted(bam, key=lambda one: str(one.query_name)):
            strand = "-" if read.is_reverse else "+"
            rows.append(
                f"{read.query_name}\t{strand}\t{read.reference_start}\t{read.reference_end}"
            )
    (HERE / "expected-placement.tsv").write_text("\n".join(rows) + "\n")
    tell("expected-placement.tsv", f"{len(rows) - 1} rows")


def copy(source: Path, target: str) -> None:
    (HERE / target).write_bytes(source.read_bytes())
    tell(target, "copied")


def write_fastq(sample: str, reads: list[Read]) -> None:
    target = f"reads/{sample}.fastq.gz"
    text = "".join(f"@{name}\n{bases}\n+\n{quality}\n" for name, bases, quality in reads)
    with (HERE / target).open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.encode("ascii"))
    tell(target, f"{len(reads)} reads")


def tell(target: str, what: str) -> None:
    print(f"{target}  {what}  sha256 {hashlib.sha256((HERE / target).read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
