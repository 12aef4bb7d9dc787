#!/usr/bin/env python3
"""One child of the array: align one sample's reads, sort, call variants, measure coverage.

Which sample is decided by AWS_BATCH_JOB_ARRAY_INDEX, the row of data/samples.tsv; the row names the
reads, the reference and the kind of sequencer, which decides the thresholds. Everything goes to
OUTPUT_DIR/<sample>/, each file by rename, so a retried child starts clean:

    aligned.bam (+ .bai)     reads aligned (alignment.py), sorted and indexed by pysam
    variants.vcf.gz (+ .tbi) single-nucleotide variants and short indels, VCF 4.2
    coverage.tsv             depth of usable bases at each position
    summary.json             the numbers of the report
"""

import gzip
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pysam
from alignment import LONG_READS, SHORT_READS, Aligner, Hit, Scoring, reverse_complement
from genotypes import Call, call, error_of

HERE = Path(__file__).resolve().parent

MIN_MAPPING_QUALITY = 20
MIN_QUAL = 20.0


class Platform(NamedTuple):
    """What one kind of sequencer asks of aligner and caller."""

    scoring: Scoring
    min_base_quality: int
    lower_near_indels: bool
    """htslib's base alignment quality: made for short reads, meaningless on long noisy ones."""
    indel_error: float
    """How often a read shows an indel that is not there."""
    min_alt_reads: int
    min_depth: int
    """With fewer reads, "not called" does not mean "same as the reference"."""


PLATFORMS = {
    # An aligner places an indel wrongly more often than a sequencer misreads a base. Of eight
    # reads of a heterozygous site, at least two show the rarer allele in 19 of 20 cases.
    "ILLUMINA": Platform(SHORT_READS, 13, True, 0.01, 2, 8),
    # One base in fifteen is wrong, mostly inserted or lost, but at random, and the same molecule
    # is read again and again. Each pass votes with its own doubtful quality, so about four more
    # passes must show a variant than not. Eight passes find 19 of 20; a test measures it.
    "PACBIO": Platform(LONG_READS, 7, False, 0.2, 3, 8),
}
SOFT_CLIP = 4
UNMAPPED = 0x4
PAIRED, PROPER, MATE_UNMAPPED = 0x1, 0x2, 0x8
REVERSE, MATE_REVERSE, FIRST, SECOND = 0x10, 0x20, 0x40, 0x80

Read = tuple[str, str]
"""Bases and qualities, as sequenced."""


def main() -> None:
    started = time.monotonic()
    data_dir = Path(os.environ.get("DATA_DIR", HERE / "data"))
    output_dir = Path(required("OUTPUT_DIR", "the folder that receives the results"))
    index = int(required("AWS_BATCH_JOB_ARRAY_INDEX", "this script runs as a child of an array"))
    samples = read_samples(data_dir / "samples.tsv")
    if index >= len(samples):
        sys.exit(
            f"call_sample: array index {index}, but {data_dir / 'samples.tsv'} lists "
            f"{len(samples)} samples; submit the array with size {len(samples)}"
        )
    sample, reads_path, reference, platform_name = samples[index]
    if platform_name not in PLATFORMS:
        sys.exit(
            f"call_sample: sample {sample} has the platform {platform_name!r} in "
            f"{data_dir / 'samples.tsv'}; known are {', '.join(PLATFORMS)}"
        )
    platform = PLATFORMS[platform_name]
    ploidy = read_ploidy(data_dir / "references.tsv", reference.relative_to(data_dir).as_posix())
    folder = output_dir / sample
    folder.mkdir(parents=True, exist_ok=True)
    # ORDER: first, so that an earlier result never passes for this one's.
    (folder / "summary.json").unlink(missing_ok=True)
    say(f"child {index}: {sample} from {reads_path.name} against {reference.name}")

    # The index of the reference is written beside it by htslib; the data folder may be read-only.
    local_reference = folder / "reference.fa"
    local_reference.write_bytes(reference.read_bytes())
    pysam.faidx(str(local_reference))
    contig, sequence = read_reference(local_reference)

    aligner = Aligner(sequence, platform.scoring)
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "unsorted"},
            "SQ": [{"SN": contig, "LN": len(sequence)}],
            "RG": [{"ID": sample, "SM": sample, "PL": platform_name}],
        }
    )
    reads, aligned, molecules = align(reads_path, aligner, header, sample, folder)
    say(f"aligned {aligned} of {reads} reads of {molecules} molecules")
    depths = coverage(folder / "aligned.bam", contig, len(sequence), platform)
    mean_depth = sum(depths) / len(depths)
    covered = sum(depth > 0 for depth in depths)
    deep_enough = sum(depth >= platform.min_depth for depth in depths)
    write_coverage(folder / "coverage.tsv", contig, depths)
    say(
        f"mean depth {mean_depth:.1f}; of {len(depths):,} bases {covered:,} are covered, "
        f"{deep_enough:,} by the {platform.min_depth} reads that miss few variants"
    )
    with (
        pysam.AlignmentFile(str(folder / "aligned.bam")) as bam,
        pysam.FastaFile(str(local_reference)) as fasta,
    ):
        found = call_variants(bam, fasta, contig, platform, ploidy)
    write_variants(folder / "variants.vcf.gz", contig, len(sequence), sample, found)
    say(f"called {len(found)} variants")

    wall_s = time.monotonic() - started
    summary = {
        "index": index,
        "sample": sample,
        "platform": platform_name,
        "contig": contig,
        "reads": reads,
        "molecules": molecules,
        "aligned": aligned,
        "mean_depth": round(mean_depth, 2),
        "covered_fraction": round(covered / len(depths), 4),
        "min_depth": platform.min_depth,
        "deep_enough_fraction": round(deep_enough / len(depths), 4),
        "variants": len(found),
        "wall_s": round(wall_s, 3),
        "job_id": os.environ.get("AWS_BATCH_JOB_ID", ""),
        "attempt": int(os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1")),
    }
    temporary = folder / "summary.json.tmp"
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    # ORDER: last, because the merge takes a summary as the proof that the sample is complete.
    temporary.replace(folder / "summary.json")
    say(f"done in {wall_s:.2f} s")


def required(name: str, meaning: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"call_sample: the environment variable {name} is not set ({meaning})")
    return value


def say(line: str) -> None:
    print(line, flush=True)


def read_samples(table: Path) -> list[tuple[str, Path, Path, str]]:
    """Sample, reads, reference and platform of each row."""
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:] if line]
    folder = table.parent
    return [
        (name, folder / reads, folder / ref, platform) for _, name, reads, ref, platform in rows
    ]


def read_ploidy(table: Path, reference: str) -> int:
    for line in table.read_text().splitlines()[1:]:
        name, ploidy = line.split("\t")[:2]
        if name == reference and ploidy in ("1", "2"):
            return int(ploidy)
    sys.exit(f"call_sample: {table} has no row for {reference} with the ploidy 1 or 2")


def read_reference(path: Path) -> tuple[str, str]:
    with pysam.FastaFile(str(path)) as fasta:
        if len(fasta.references) != 1:
            sys.exit(f"call_sample: {path} has {len(fasta.references)} sequences; one is expected")
        contig = fasta.references[0]
        return contig, fasta.fetch(contig).upper()


def read_fragments(path: Path) -> Iterator[tuple[str, dict[int, Read]]]:
    """The reads of a fragment together: mates are named /1 and /2, and follow one another.

    A read whose name ends otherwise stands alone, as number 0.
    """
    name, mates = "", dict[int, Read]()
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for header in lines:
            fragment, mate = header[1:].strip(), 0
            if fragment.endswith(("/1", "/2")):
                fragment, mate = fragment[:-2], int(fragment[-1])
            bases, _, qualities = next(lines).strip(), next(lines), next(lines).strip()
            if fragment != name and mates:
                yield name, mates
                mates = {}
            name, mates[mate] = fragment, (bases, qualities)
    if mates:
        yield name, mates


def molecule_of(fragment: str) -> str:
    """The DNA molecule behind a name: PacBio's are movie/well/start_end, one molecule to a well."""
    parts = fragment.split("/")
    return "/".join(parts[:2]) if len(parts) == 3 else fragment


# --- alignment --------------------------------------------------------------------------------


def align(
    reads_path: Path, aligner: Aligner, header: Any, sample: str, folder: Path
) -> tuple[int, int, int]:
    """Write aligned.bam, sorted and indexed; count reads, aligned reads and molecules."""
    total = aligned = 0
    molecules = set()
    unsorted = folder / "unsorted.bam"
    with pysam.AlignmentFile(str(unsorted), "wb", header=header) as out:
        for name, mates in read_fragments(reads_path):
            found = {mate: aligner.align(bases) for mate, (bases, _) in mates.items()}
            hits = {mate: hit for mate, hit in found.items() if hit is not None}
            molecules.add(molecule_of(name))
            total += len(mates)
            aligned += len(hits)
            for record in records(name, mates, hits, header, sample):
                out.write(record)
    sorted_bam = folder / "sorted.tmp.bam"
    # samtools would take 768 MiB for sorting, which is more than the whole job asks for.
    pysam.sort("-m", "64M", "-o", str(sorted_bam), str(unsorted))
    unsorted.unlink()
    sorted_bam.replace(folder / "aligned.bam")
    pysam.index(str(folder / "aligned.bam"))
    return total, aligned, len(molecules)


def records(
    name: str, mates: dict[int, Read], hits: dict[int, Hit], header: Any, sample: str
) -> Iterator[Any]:
    """The SAM records of one fragment, both mates described in each."""
    for mate, (bases, qualities) in sorted(mates.items()):
        hit, other = hits.get(mate), hits.get(3 - mate)
        flag = 0
        if len(mates) == 2:
            flag |= PAIRED | (FIRST if mate == 1 else SECOND)
            flag |= MATE_UNMAPPED if other is None else MATE_REVERSE if other.reverse else 0
        record = pysam.AlignedSegment(header)
        record.query_name = name
        record.set_tag("RG", sample)
        if hit is None:
            record.flag = flag | UNMAPPED
            record.query_sequence = bases
            record.query_qualities = pysam.qualitystring_to_array(qualities)
            # SAM convention: an unaligned mate is filed at the place of its aligned mate.
            if other is not None:
                record.reference_id, record.reference_start = 0, other.ref_start
                record.next_reference_id, record.next_reference_start = 0, other.ref_start
            yield record
            continue
        if hit.reverse:
            flag |= REVERSE
            bases, qualities = reverse_complement(bases), qualities[::-1]
        if other is not None and other.reverse != hit.reverse:
            flag |= PROPER
        record.flag = flag
        record.query_sequence = bases
        record.query_qualities = pysam.qualitystring_to_array(qualities)
        record.reference_id, record.reference_start = 0, hit.ref_start
        record.mapping_quality = hit.mapping_quality
        clips = (hit.read_start, len(bases) - hit.read_end)
        soft = [[(SOFT_CLIP, clip)] if clip else [] for clip in clips]
        record.cigartuples = [*soft[0], *hit.cigar, *soft[1]]
        record.set_tag("NM", hit.edits)
        if len(mates) == 2:
            placed = other or hit
            record.next_reference_id, record.next_reference_start = 0, placed.ref_start
            if other is not None:
                span = max(hit.ref_end, other.ref_end) - min(hit.ref_start, other.ref_start)
                leftmost = (hit.ref_start, mate) < (other.ref_start, 3 - mate)
                record.template_length = span if leftmost else -span
        yield record


# --- coverage and variants ----------------------------------------------------------------------


def pileup(bam: Any, contig: str, min_base_quality: int, fasta: Any = None) -> Iterator[Any]:
    """Columns of usable reads; where two mates overlap, htslib lets only one of them vote.

    With a reference, htslib also lowers the qualities of bases next to a likely misaligned indel
    (base alignment quality), which is what keeps an indel from showing up as false SNVs.
    """
    columns: Iterator[Any] = bam.pileup(
        contig,
        stepper="samtools",
        fastafile=fasta,
        compute_baq=fasta is not None,
        ignore_orphans=False,
        min_base_quality=min_base_quality,
        min_mapping_quality=MIN_MAPPING_QUALITY,
        max_depth=100_000,
    )
    return columns


def coverage(bam_path: Path, contig: str, length: int, platform: Platform) -> list[int]:
    depths = [0] * length
    with pysam.AlignmentFile(str(bam_path)) as bam:
        for column in pileup(bam, contig, platform.min_base_quality):
            depths[column.reference_pos] = sum(
                1 for read in column.pileups if not read.is_del and not read.is_refskip
            )
    return depths


def write_coverage(path: Path, contig: str, depths: list[int]) -> None:
    rows = [f"{contig}\t{position}\t{depth}\n" for position, depth in enumerate(depths, 1)]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("contig\tposition\tdepth\n" + "".join(rows))
    temporary.replace(path)


class Variant:
    """One called site, 1-based, with the anchor base an indel needs in VCF."""

    def __init__(self, position: int, ref: str, alt: str, depths: tuple[int, int], made: Call):
        self.position, self.ref, self.alt = position, ref, alt
        self.ref_depth, self.alt_depth = depths
        self.made = made


def call_variants(
    bam: Any, fasta: Any, contig: str, platform: Platform, ploidy: int
) -> list[Variant]:
    sequence = fasta.fetch(contig).upper()
    found = []
    for position, ref, alt, ref_errors, alt_errors in (
        *snv_candidates(bam, fasta, contig, sequence, platform),
        *indel_candidates(bam, contig, sequence, platform),
    ):
        if len(alt_errors) < platform.min_alt_reads:
            continue
        made = call(ref_errors, alt_errors, ploidy=ploidy)
        if any(made.genotype) and made.qual >= MIN_QUAL:
            depths = (len(ref_errors), len(alt_errors))
            found.append(Variant(position, ref, alt, depths, made))
    return sorted(found, key=lambda one: (one.position, one.ref, one.alt))


Candidate = tuple[int, str, str, list[float], list[float]]
"""Position, alleles, and the error probabilities of the reads that show either."""


def snv_candidates(
    bam: Any, fasta: Any, contig: str, sequence: str, platform: Platform
) -> Iterator[Candidate]:
    baq = fasta if platform.lower_near_indels else None
    for column in pileup(bam, contig, platform.min_base_quality, baq):
        ref = sequence[column.reference_pos]
        errors: dict[str, list[float]] = {}
        for read in column.pileups:
            if read.is_del or read.is_refskip:
                continue
            base = read.alignment.query_sequence[read.query_position]
            quality = read.alignment.query_qualities[read.query_position]
            errors.setdefault(base, []).append(error_of(quality))
        alternatives = [base for base in errors if base in "ACGT" and base != ref]
        if alternatives:
            alt = max(alternatives, key=lambda base: (len(errors[base]), base))
            yield column.reference_pos + 1, ref, alt, errors.get(ref, []), errors[alt]


def indel_candidates(
    bam: Any, contig: str, sequence: str, platform: Platform
) -> Iterator[Candidate]:
    for column in pileup(bam, contig, 0):
        seen: Counter[tuple[str, str]] = Counter()
        plain = 0
        start = column.reference_pos
        for read in column.pileups:
            if read.is_del or read.is_refskip:
                continue
            if read.indel > 0:
                begin = read.query_position
                bases = read.alignment.query_sequence[begin : begin + read.indel + 1]
                seen[sequence[start], sequence[start] + bases[1:]] += 1
            elif read.indel < 0:
                seen[sequence[start : start - read.indel + 1], sequence[start]] += 1
            elif not read.is_tail:
                # A read that ends here says nothing about what follows.
                plain += 1
        if seen:
            (ref, alt), count = max(seen.items(), key=lambda item: (item[1], item[0]))
            error = platform.indel_error
            yield start + 1, ref, alt, [error] * plain, [error] * count


def write_variants(
    target: Path, contig: str, length: int, sample: str, found: list[Variant]
) -> None:
    header = pysam.VariantHeader()
    header.add_meta("source", "batchyard-example-call_sample")
    header.contigs.add(contig, length=length)
    header.info.add("DP", 1, "Integer", "Usable reads at the site")
    header.formats.add("GT", 1, "String", "Genotype")
    header.formats.add("DP", 1, "Integer", "Usable reads of the sample at the site")
    header.formats.add("AD", "R", "Integer", "Usable reads for each allele")
    header.formats.add("GQ", 1, "Integer", "Phred-scaled quality of the genotype")
    header.add_sample(sample)
    temporary = target.with_name("variants.tmp.vcf.gz")
    with pysam.VariantFile(str(temporary), "wz", header=header) as out:
        for one in found:
            record = out.new_record(
                contig=contig,
                start=one.position - 1,
                alleles=(one.ref, one.alt),
                qual=round(one.made.qual, 1),
                filter="PASS",
            )
            depth = one.ref_depth + one.alt_depth
            record.info["DP"] = depth
            cell = record.samples[sample]
            cell["GT"] = one.made.genotype
            cell["DP"] = depth
            cell["AD"] = (one.ref_depth, one.alt_depth)
            cell["GQ"] = one.made.genotype_quality
            out.write(record)
    temporary.replace(target)
    pysam.tabix_index(str(target), preset="vcf", force=True)


if __name__ == "__main__":
    main()
