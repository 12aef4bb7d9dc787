#!/usr/bin/env python3
"""Rebuild reference.fa, samples.tsv and reads/ from Debian's samtools-test package.

Nobody needs this to run the pipeline: its results are in the repository. It is here so that
"what was done to the data" is a program and not a promise:

    apt-get download samtools-test            # version 1.16.1-1, see SOURCES.toml
    dpkg-deb -x samtools-test_*.deb unpacked
    python3 prepare.py unpacked/usr/share/samtools/test/dat

Only the standard library is used. The same input gives the same bytes (gzip without a time).
"""

import gzip
import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALIGNMENTS = ("mpileup.1.sam", "mpileup.2.sam", "mpileup.3.sam")
REFERENCE = "mpileup.ref.fa"

REVERSE, SECOND, NOT_PRIMARY = 0x10, 0x80, 0x100 | 0x800
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reads_of(alignment: Path) -> tuple[str, list[tuple[str, int, str, str]]]:
    """The sample's name and its reads as (name, mate, bases, qualities), as sequenced."""
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
    return samples.pop(), sorted(reads)


def write_fastq(path: Path, reads: list[tuple[str, int, str, str]]) -> None:
    text = "".join(f"@{name}/{mate}\n{seq}\n+\n{qual}\n" for name, mate, seq, qual in reads)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(text.encode("ascii"))


def main() -> None:
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / REFERENCE).is_file():
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    (HERE / "reads").mkdir(exist_ok=True)
    (HERE / "reference.fa").write_bytes((source / REFERENCE).read_bytes())
    rows = ["index\tsample\treads"]
    for index, alignment in enumerate(ALIGNMENTS):
        sample, reads = reads_of(source / alignment)
        target = HERE / "reads" / f"{sample}.fastq.gz"
        write_fastq(target, reads)
        rows.append(f"{index}\t{sample}\treads/{target.name}")
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        print(f"{target.name}  {len(reads)} reads  sha256 {digest}")
    (HERE / "samples.tsv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
