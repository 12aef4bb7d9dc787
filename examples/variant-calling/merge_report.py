#!/usr/bin/env python3
"""The job behind the array: merge the samples' VCFs, draw the picture, write the report.

Reads OUTPUT_DIR/<sample>/ of every sample in data/samples.tsv and writes to OUTPUT_DIR:

    merged.vcf.gz (+ .tbi)       one row for each site, one column for each sample
    coverage-and-variants.png    depth along the reference, one panel for each sample
    report.html                  the table and the picture in one self-contained file
"""

import base64
import html
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pysam

HERE = Path(__file__).resolve().parent
# Below this depth "no call" does not mean "same as the reference", and the table says ./. there.
MIN_DEPTH_FOR_REFERENCE = 3

INK, MUTED, FILL = "#1b1f24", "#57606a", "#9ecae1"
HETEROZYGOUS, HOMOZYGOUS = "#d95f02", "#7b3294"


class Genotype(NamedTuple):
    alleles: tuple[int, int] | tuple[None, None]
    depth: int
    allele_depths: tuple[int, int] | None
    quality: int | None


class Site(NamedTuple):
    position: int
    ref: str
    alt: str
    qual: float
    genotypes: dict[str, Genotype]


class Sample(NamedTuple):
    name: str
    summary: dict[str, Any]
    depths: list[int]


def main() -> None:
    started = time.monotonic()
    data_dir = Path(os.environ.get("DATA_DIR", HERE / "data"))
    if not os.environ.get("OUTPUT_DIR"):
        sys.exit("merge_report: the environment variable OUTPUT_DIR is not set")
    output_dir = Path(os.environ["OUTPUT_DIR"])
    with (data_dir / "samples.tsv").open() as table:
        names = [line.split("\t")[1] for line in table.readlines()[1:]]
    samples = [read_sample(output_dir, name) for name in names]
    header, sites = merge(output_dir, samples)
    write_vcf(output_dir / "merged.vcf.gz", header, sites)
    print(f"merged {len(samples)} samples: {len(sites)} sites", flush=True)
    picture = draw(samples, sites)
    write_atomically(output_dir / "coverage-and-variants.png", picture)
    page = report(samples, sites, header.contigs[0].name, picture)
    # ORDER: the report last, so that its presence means everything else is there.
    write_atomically(output_dir / "report.html", page.encode())
    print(f"report.html written in {time.monotonic() - started:.2f} s", flush=True)


def read_sample(output_dir: Path, name: str) -> Sample:
    folder = output_dir / name
    if not (folder / "summary.json").is_file():
        sys.exit(f"merge_report: {folder / 'summary.json'} is missing: child {name} did not finish")
    rows = (folder / "coverage.tsv").read_text().splitlines()[1:]
    depths = [int(row.rsplit("\t", 1)[1]) for row in rows]
    return Sample(name, json.loads((folder / "summary.json").read_text()), depths)


def write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


# --- the multi-sample VCF -----------------------------------------------------------------------


def merge(output_dir: Path, samples: list[Sample]) -> tuple[Any, list[Site]]:
    """Every site any sample has, with a genotype for all; the header is the first sample's."""
    header: Any = None
    calls: dict[tuple[int, str, str], dict[str, Genotype]] = {}
    quals: dict[tuple[int, str, str], float] = {}
    for sample in samples:
        with pysam.VariantFile(str(output_dir / sample.name / "variants.vcf.gz")) as source:
            if header is None:
                header = source.header.copy()
            else:
                header.add_sample(sample.name)
            for record in source:
                if record.ref is None or record.alts is None or record.qual is None:
                    sys.exit(f"merge_report: {sample.name}: record without alleles: {record}")
                key = (record.pos, record.ref, record.alts[0])
                cell = record.samples[sample.name]
                made = Genotype(cell["GT"], cell["DP"], cell["AD"], cell["GQ"])
                calls.setdefault(key, {})[sample.name] = made
                quals[key] = max(quals.get(key, 0.0), record.qual)
    sites = []
    for key in sorted(calls):
        genotypes = {}
        for sample in samples:
            depth = sample.depths[key[0] - 1]
            called = calls[key].get(sample.name)
            alleles = (0, 0) if depth >= MIN_DEPTH_FOR_REFERENCE else (None, None)
            genotypes[sample.name] = called or Genotype(alleles, depth, None, None)
        sites.append(Site(*key, quals[key], genotypes))
    return header, sites


def write_vcf(path: Path, header: Any, sites: list[Site]) -> None:
    temporary = path.with_name("merged.tmp.vcf.gz")
    contig = header.contigs[0].name
    with pysam.VariantFile(str(temporary), "wz", header=header) as out:
        for site in sites:
            record = out.new_record(
                contig=contig,
                start=site.position - 1,
                alleles=(site.ref, site.alt),
                qual=round(site.qual, 1),
                filter="PASS",
            )
            record.info["DP"] = sum(made.depth for made in site.genotypes.values())
            for name, made in site.genotypes.items():
                cell = record.samples[name]
                cell["GT"], cell["DP"] = made.alleles, made.depth
                if made.allele_depths is not None:
                    cell["AD"], cell["GQ"] = made.allele_depths, made.quality
            out.write(record)
    temporary.replace(path)
    pysam.tabix_index(str(path), preset="vcf", force=True)


# --- picture and page ---------------------------------------------------------------------------


def draw(samples: list[Sample], sites: list[Site]) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    figure, panels = pyplot.subplots(
        len(samples), 1, figsize=(10, 1.2 + 1.7 * len(samples)), sharex=True, squeeze=False
    )
    for (axes,), sample in zip(panels, samples, strict=True):
        positions = range(1, len(sample.depths) + 1)
        top = max(sample.depths) or 1
        axes.fill_between(positions, sample.depths, step="mid", color=FILL, linewidth=0)
        for site in sites:
            copies = sum(allele or 0 for allele in site.genotypes[sample.name].alleles)
            if copies:
                colour, marker = ((HETEROZYGOUS, "o"), (HOMOZYGOUS, "D"))[copies - 1]
                axes.vlines(site.position, 0, top * 1.12, color=colour, linewidth=0.8)
                axes.plot(site.position, top * 1.12, marker, color=colour, markersize=5)
        mean = sample.summary["mean_depth"]
        axes.set_title(f"{sample.name}, mean depth {mean:.1f}", loc="left", fontsize=10, color=INK)
        axes.set_ylabel("depth", color=MUTED)
        axes.set_ylim(0, top * 1.3)
        axes.set_xlim(1, len(sample.depths))
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1][0].set_xlabel("position on the reference (bp)", color=MUTED)
    legend = [
        Line2D([], [], color=HETEROZYGOUS, marker="o", label="heterozygous variant"),
        Line2D([], [], color=HOMOZYGOUS, marker="D", label="homozygous variant"),
    ]
    figure.legend(handles=legend, loc="upper right", ncols=2, frameon=False, fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    pyplot.close(figure)
    return buffer.getvalue()


def report(samples: list[Sample], sites: list[Site], contig: str, picture: bytes) -> str:
    sample_rows = []
    for sample in samples:
        one = sample.summary
        cells = (
            sample.name,
            str(one["index"]),
            f"{one['reads']:,}",
            f"{one['aligned']:,} ({100 * one['aligned'] / max(1, one['reads']):.1f} %)",
            f"{one['mean_depth']:.1f}",
            f"{100 * one['covered_fraction']:.1f} %",
            str(one["variants"]),
            f"{one['wall_s']:.2f} s",
            str(one["attempt"]),
        )
        sample_rows.append(row(cells))
    site_rows = []
    for site in sites:
        genotypes = [describe(site.genotypes[sample.name]) for sample in samples]
        site_rows.append(
            row((f"{contig}:{site.position}", site.ref, site.alt, f"{site.qual:.0f}", *genotypes))
        )
    image = base64.b64encode(picture).decode("ascii")
    return PAGE.format(
        lead=f"{len(samples)} samples, {len(sites)} variant sites on a reference of "
        f"{len(samples[0].depths):,} bases.",
        sample_head=row(SAMPLE_HEADS, cell="th"),
        sample_rows="\n".join(sample_rows),
        site_head=row(("site", "ref", "alt", "QUAL", *(s.name for s in samples)), cell="th"),
        site_rows="\n".join(site_rows),
        image=image,
    )


def describe(made: Genotype) -> str:
    genotype = "/".join("." if allele is None else str(allele) for allele in made.alleles)
    if made.allele_depths is None:
        return f"{genotype} (depth {made.depth})"
    return f"{genotype} ({made.allele_depths[0]} ref, {made.allele_depths[1]} alt)"


def row(cells: tuple[str, ...], cell: str = "td") -> str:
    return "<tr>" + "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in cells) + "</tr>"


SAMPLE_HEADS = (
    "sample",
    "array index",
    "reads",
    "aligned",
    "mean depth",
    "bases covered",
    "variants",
    "wall time",
    "attempt",
)
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Variant calling on Batchyard</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: light-dark(#1b1f24, #e6edf3); background: light-dark(#fff, #0d1117); }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; font-variant-numeric: tabular-nums;
  border-bottom: 1px solid light-dark(#d0d7de, #30363d); }}
img {{ width: 100%; background: #fff; }}
.wide {{ overflow-x: auto; }}
</style>
<h1>Variant calling on Batchyard</h1>
<p>{lead} One array job, one child for each sample; this page was written by the job that
depends on the array.</p>
<h2>Samples</h2>
<div class="wide"><table><thead>{sample_head}</thead><tbody>
{sample_rows}
</tbody></table></div>
<h2>Coverage and variants</h2>
<p><img alt="Depth of coverage along the reference, one panel for each sample; marks show the
variants called in it." src="data:image/png;base64,{image}"></p>
<h2>Variants</h2>
<div class="wide"><table><thead>{site_head}</thead><tbody>
{site_rows}
</tbody></table></div>
<p>0/0 same as the reference, 0/1 one copy differs, 1/1 both copies differ, ./. too few reads to
say. The same calls are in merged.vcf.gz.</p>
</html>
"""


if __name__ == "__main__":
    main()
