#!/usr/bin/env python3
"""One child of the array: align one sample's reads, sort, call variants, measure coverage.

Which sample is decided by AWS_BATCH_JOB_ARRAY_INDEX, the row of data/samples.tsv. Everything goes
to OUTPUT_DIR/<sample>/, each file by rename, so a retried child starts clean:

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
from typing import Any

import pysam
from alignment import Aligner, Hit, reverse_complement
from genotypes import Call, call, error_of

HERE = Path(__file__).resolve().parent

MIN_BASE_QUALITY = 13
MIN_MAPPING_QUALITY = 20
MIN_ALT_READS = 2
MIN_QUAL = 20.0
# An aligner places an indel wrongly more often than a sequencer misreads a base.
INDEL_ERROR = 0.01
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
    sample, reads_path = samples[index]
    reference = data_dir / "reference.fa"
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

    reads, aligned = align(reads_path, sequence, contig, sample, folder)
    say(f"aligned {aligned} of {reads} reads")
    depths = coverage(folder / "aligned.bam", contig, len(sequence))
    mean_depth = sum(depths) / len(depths)
    write_coverage(folder / "coverage.tsv", contig, depths)
    say(f"mean depth {mean_depth:.1f}, {sum(d > 0 for d in depths)} of {len(depths)} bases covered")
    count = write_variants(folder, local_reference, contig, sequence, sample)
    say(f"called {count} variants")

    wall_s = time.monotonic() - started
    summary = {
        "index": index,
        "sample": sample,
        "reads": reads,
        "aligned": aligned,
        "mean_depth": round(mean_depth, 2),
        "covered_fraction": round(sum(d > 0 for d in depths) / len(depths), 4),
        "variants": count,
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


def read_samples(table: Path) -> list[tuple[str, Path]]:
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:] if line]
    return [(sample, table.parent / reads) for _, sample, reads in rows]


def read_reference(path: Path) -> tuple[str, str]:
    with pysam.FastaFile(str(path)) as fasta:
        if len(fasta.references) != 1:
            sys.exit(f"call_sample: {path} has {len(fasta.references)} sequences; one is expected")
        contig = fasta.references[0]
        return contig, fasta.fetch(contig).upper()


def read_pairs(path: Path) -> Iterator[tuple[str, dict[int, Read]]]:
    """The reads of a fragment together: names end in /1 or /2 and the file is sorted by name."""
    name, mates = "", dict[int, Read]()
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for header in lines:
            fragment, mate = header[1:].strip().rsplit("/", 1)
            bases, _, qualities = next(lines).strip(), next(lines), next(lines).strip()
            if fragment != name and mates:
                yield name, mates
                mates = {}
            name, mates[int(mate)] = fragment, (bases, qualities)
    if mates:
        yield name, mates


# --- alignment --------------------------------------------------------------------------------


def align(
    reads_path: Path, sequence: str, contig: str, sample: str, folder: Path
) -> tuple[int, int]:
    """Write aligned.bam, sorted and indexed; answer how many reads there were and were aligned."""
    aligner = Aligner(sequence)
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "unsorted"},
            "SQ": [{"SN": contig, "LN": len(sequence)}],
            "RG": [{"ID": sample, "SM": sample, "PL": "ILLUMINA"}],
        }
    )
    total = aligned = 0
    unsorted = folder / "unsorted.bam"
    with pysam.AlignmentFile(str(unsorted), "wb", header=header) as out:
        for name, mates in read_pairs(reads_path):
            found = {mate: aligner.align(bases) for mate, (bases, _) in mates.items()}
            hits = {mate: hit for mate, hit in found.items() if hit is not None}
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
    return total, aligned


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


def coverage(bam_path: Path, contig: str, length: int) -> list[int]:
    depths = [0] * length
    with pysam.AlignmentFile(str(bam_path)) as bam:
        for column in pileup(bam, contig, MIN_BASE_QUALITY):
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


def snvs(bam: Any, fasta: Any, contig: str, sequence: str) -> Iterator[Variant]:
    for column in pileup(bam, contig, MIN_BASE_QUALITY, fasta):
        ref = sequence[column.reference_pos]
        errors: dict[str, list[float]] = {}
        for read in column.pileups:
            if read.is_del or read.is_refskip:
                continue
            base = read.alignment.query_sequence[read.query_position]
            quality = read.alignment.query_qualities[read.query_position]
            errors.setdefault(base, []).append(error_of(quality))
        alternatives = [base for base in errors if base in "ACGT" and base != ref]
        if not alternatives:
            continue
        alt = max(alternatives, key=lambda base: (len(errors[base]), base))
        yield from called(column.reference_pos + 1, ref, alt, errors.get(ref, []), errors[alt])


def indels(bam: Any, contig: str, sequence: str) -> Iterator[Variant]:
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
            yield from called(start + 1, ref, alt, [INDEL_ERROR] * plain, [INDEL_ERROR] * count)


def called(
    position: int, ref: str, alt: str, ref_errors: list[float], alt_errors: list[float]
) -> Iterator[Variant]:
    if len(alt_errors) < MIN_ALT_READS:
        return
    made = call(ref_errors, alt_errors)
    if made.genotype != "0/0" and made.qual >= MIN_QUAL:
        yield Variant(position, ref, alt, (len(ref_errors), len(alt_errors)), made)


def write_variants(folder: Path, reference: Path, contig: str, sequence: str, sample: str) -> int:
    with (
        pysam.AlignmentFile(str(folder / "aligned.bam")) as bam,
        pysam.FastaFile(str(reference)) as fasta,
    ):
        found = [*snvs(bam, fasta, contig, sequence), *indels(bam, contig, sequence)]
    header = pysam.VariantHeader()
    header.add_meta("source", "batchyard-example-call_sample")
    header.contigs.add(contig, length=len(sequence))
    header.info.add("DP", 1, "Integer", "Usable reads at the site")
    header.formats.add("GT", 1, "String", "Genotype")
    header.formats.add("DP", 1, "Integer", "Usable reads of the sample at the site")
    header.formats.add("AD", "R", "Integer", "Usable reads for each allele")
    header.formats.add("GQ", 1, "Integer", "Phred-scaled quality of the genotype")
    header.add_sample(sample)
    target, temporary = folder / "variants.vcf.gz", folder / "variants.tmp.vcf.gz"
    with pysam.VariantFile(str(temporary), "wz", header=header) as out:
        for one in sorted(found, key=lambda v: (v.position, v.ref, v.alt)):
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
            cell["GT"] = tuple(int(allele) for allele in one.made.genotype.split("/"))
            cell["DP"] = depth
            cell["AD"] = (one.ref_depth, one.alt_depth)
            cell["GQ"] = one.made.genotype_quality
            out.write(record)
    temporary.replace(target)
    pysam.tabix_index(str(target), preset="vcf", force=True)
    return len(found)


if __name__ == "__main__":
    main()
