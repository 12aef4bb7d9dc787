#!/usr/bin/env python3
"""The job behind the array: merge the samples' VCFs, draw the picture, write the report.

Reads OUTPUT_DIR/<sample>/ of every sample in data/samples.tsv and writes to OUTPUT_DIR:

    merged.vcf.gz (+ .tbi)       one row for each site, one column for each sample; a sample
                                 that was not compared with the site's reference has ./. there
    coverage-and-variants.png    depth along each reference, one panel for each sample
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
INK, MUTED, RULE = "#1b1f24", "#57606a", "#d0d7de"
FILL, DEEP = "#c6dbef", "#4292c6"
HETEROZYGOUS, HOMOZYGOUS = "#d95f02", "#7b3294"

Key = tuple[str, int, str, str]
"""Contig, position, reference allele, alternative allele."""


class Genotype(NamedTuple):
    alleles: tuple[int | None, ...]
    depth: int
    allele_depths: tuple[int, int] | None = None
    quality: int | None = None

    @property
    def altered(self) -> int:
        """How many chromosomes carry the alternative allele."""
        return sum(allele or 0 for allele in self.alleles)


class Site(NamedTuple):
    contig: str
    position: int
    ref: str
    alt: str
    qual: float
    genotypes: dict[str, Genotype]
    """Of the samples that were compared with this contig."""


class Sample(NamedTuple):
    name: str
    summary: dict[str, Any]
    depths: list[int]


class Reference(NamedTuple):
    contig: str
    ploidy: int
    title: str
    note: str
    samples: list[Sample]

    @property
    def length(self) -> int:
        return len(self.samples[0].depths)


def main() -> None:
    started = time.monotonic()
    data_dir = Path(os.environ.get("DATA_DIR", HERE / "data"))
    if not os.environ.get("OUTPUT_DIR"):
        sys.exit("merge_report: the environment variable OUTPUT_DIR is not set")
    output_dir = Path(os.environ["OUTPUT_DIR"])
    references = read_references(data_dir, output_dir)
    samples = [sample for reference in references for sample in reference.samples]
    header, sites = merge(output_dir, references)
    write_vcf(output_dir / "merged.vcf.gz", header, samples, sites)
    print(f"merged {len(samples)} samples: {len(sites)} sites", flush=True)
    picture = draw(references, sites)
    write_atomically(output_dir / "coverage-and-variants.png", picture)
    page = report(references, sites, picture)
    # ORDER: the report last, so that its presence means everything else is there.
    write_atomically(output_dir / "report.html", page.encode())
    print(f"report.html written in {time.monotonic() - started:.2f} s", flush=True)


def read_references(data_dir: Path, output_dir: Path) -> list[Reference]:
    """The references that samples.tsv names, in the order of references.tsv, with their samples."""
    samples: dict[str, list[Sample]] = {}
    for row in read_table(data_dir / "samples.tsv"):
        found = samples.setdefault(row["reference"], [])
        found.append(read_sample(output_dir, row["sample"]))
    references = []
    for row in read_table(data_dir / "references.tsv"):
        if here := samples.get(row["reference"]):
            contig = here[0].summary["contig"]
            references.append(
                Reference(contig, int(row["ploidy"]), row["title"], row["note"], here)
            )
    return references


def read_table(path: Path) -> list[dict[str, str]]:
    lines = path.read_text().splitlines()
    heads = lines[0].split("\t")
    return [dict(zip(heads, line.split("\t"), strict=True)) for line in lines[1:] if line]


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


def merge(output_dir: Path, references: list[Reference]) -> tuple[Any, list[Site]]:
    """Every site any sample has, with a genotype for all samples of its reference."""
    header: Any = None
    sites = []
    for reference in references:
        calls: dict[Key, dict[str, Genotype]] = {}
        quals: dict[Key, float] = {}
        for sample in reference.samples:
            with pysam.VariantFile(str(output_dir / sample.name / "variants.vcf.gz")) as source:
                if header is None:
                    header = source.header.copy()
                else:
                    header.add_sample(sample.name)
                    if reference.contig not in header.contigs:
                        header.contigs.add(reference.contig, length=reference.length)
                for record in source:
                    if record.ref is None or record.alts is None or record.qual is None:
                        sys.exit(f"merge_report: {sample.name}: record without alleles: {record}")
                    key = (record.chrom, record.pos, record.ref, record.alts[0])
                    cell = record.samples[sample.name]
                    made = Genotype(cell["GT"], cell["DP"], cell["AD"], cell["GQ"])
                    calls.setdefault(key, {})[sample.name] = made
                    quals[key] = max(quals.get(key, 0.0), record.qual)
        for key in sorted(calls):
            genotypes = {
                sample.name: calls[key].get(sample.name) or uncalled(sample, key[1], reference)
                for sample in reference.samples
            }
            sites.append(Site(*key, quals[key], genotypes))
    return header, sites


def uncalled(sample: Sample, position: int, reference: Reference) -> Genotype:
    """As the reference where there were reads enough to see a difference, unknown elsewhere."""
    depth = sample.depths[position - 1]
    known = depth >= sample.summary["min_depth"]
    return Genotype((0 if known else None,) * reference.ploidy, depth)


def write_vcf(path: Path, header: Any, samples: list[Sample], sites: list[Site]) -> None:
    temporary = path.with_name("merged.tmp.vcf.gz")
    with pysam.VariantFile(str(temporary), "wz", header=header) as out:
        for site in sites:
            record = out.new_record(
                contig=site.contig,
                start=site.position - 1,
                alleles=(site.ref, site.alt),
                qual=round(site.qual, 1),
                filter="PASS",
            )
            record.info["DP"] = sum(made.depth for made in site.genotypes.values())
            for sample in samples:
                cell = record.samples[sample.name]
                made = site.genotypes.get(sample.name)
                if made is None:
                    cell["GT"] = (None, None)
                    continue
                cell["GT"], cell["DP"] = made.alleles, made.depth
                if made.allele_depths is not None:
                    cell["AD"], cell["GQ"] = made.allele_depths, made.quality
            out.write(record)
    temporary.replace(path)
    pysam.tabix_index(str(path), preset="vcf", force=True)


# --- picture and page ---------------------------------------------------------------------------


def draw(references: list[Reference], sites: list[Site]) -> bytes:
    """One panel for each sample; the samples of one reference share its axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    # A figure for the head, then one for each reference, as high as it has panels.
    heights = [0.55, *(0.95 + 1.45 * len(reference.samples) for reference in references)]
    figure = pyplot.figure(figsize=(10.5, sum(heights)), layout="constrained")
    head, *parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    head.legend(
        handles=[
            Patch(color=FILL, label="depth of usable reads"),
            Patch(color=DEEP, label="deep enough to miss little"),
            Line2D([], [], color=HETEROZYGOUS, marker="o", label="variant, one of two copies"),
            Line2D([], [], color=HOMOZYGOUS, marker="D", label="variant, every copy"),
        ],
        loc="center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    for part, reference in zip(parts, references, strict=True):
        part.suptitle(
            reference.title,
            x=0.012,
            ha="left",
            fontsize=12,
            fontweight="bold",
            color=INK,
        )
        panels = part.subplots(len(reference.samples), 1, sharex=True, squeeze=False)[:, 0]
        for axes, sample in zip(panels, reference.samples, strict=True):
            draw_sample(axes, sample, reference, sites)
        panels[-1].set_xlabel(f"position on {reference.contig} (bp)", color=MUTED, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    pyplot.close(figure)
    return buffer.getvalue()


def draw_sample(axes: Any, sample: Sample, reference: Reference, sites: list[Site]) -> None:
    one = sample.summary
    positions = range(1, reference.length + 1)
    top = max(sample.depths) or 1
    axes.fill_between(positions, sample.depths, step="mid", color=FILL, linewidth=0)
    deep = [depth >= one["min_depth"] for depth in sample.depths]
    axes.fill_between(positions, sample.depths, where=deep, step="mid", color=DEEP, linewidth=0)
    for site in sites:
        made = site.genotypes.get(sample.name)
        if made is None or not made.altered:
            continue
        every = made.altered == len(made.alleles)
        colour, marker = (HOMOZYGOUS, "D") if every else (HETEROZYGOUS, "o")
        axes.vlines(site.position, 0, top * 1.14, color=colour, linewidth=0.9)
        axes.plot(site.position, top * 1.14, marker, color=colour, markersize=5.5)
    count = "no variant" if not one["variants"] else f"{one['variants']} variants"
    axes.set_title(
        f"{sample.name}   mean depth {one['mean_depth']:.1f}, "
        f"{100 * one['covered_fraction']:.0f} % covered, {count}",
        loc="left",
        fontsize=9.5,
        color=INK,
    )
    axes.set_ylabel("depth", color=MUTED, fontsize=9)
    axes.set_ylim(0, top * 1.32)
    axes.set_xlim(1, reference.length)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.tick_params(colors=MUTED, labelsize=8.5)
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)


def report(references: list[Reference], sites: list[Site], picture: bytes) -> str:
    samples = [sample for reference in references for sample in reference.samples]
    sample_rows = [sample_row(sample, one) for one in references for sample in one.samples]
    return PAGE.format(
        samples=len(samples),
        sites=len(sites),
        references=len(references),
        bases=sum(reference.length for reference in references),
        wall_s=sum(sample.summary["wall_s"] for sample in samples),
        sample_head=row(SAMPLE_HEADS, cell="th"),
        sample_rows="\n".join(sample_rows),
        notes="\n".join(note(reference) for reference in references),
        variants="\n".join(variants_of(reference, sites) for reference in references),
        image=base64.b64encode(picture).decode("ascii"),
    )


def sample_row(sample: Sample, reference: Reference) -> str:
    one = sample.summary
    return row(
        (
            sample.name,
            str(one["index"]),
            reference.contig,
            f"{one['reads']:,}",
            f"{one['molecules']:,}",
            f"{100 * one['aligned'] / max(1, one['reads']):.1f} %",
            f"{one['mean_depth']:.1f}",
            f"{100 * one['covered_fraction']:.1f} %",
            f"{100 * one['deep_enough_fraction']:.1f} %",
            str(one["variants"]),
            f"{one['wall_s']:.2f} s",
            str(one["attempt"]),
        )
    )


def note(reference: Reference) -> str:
    name = html.escape(reference.contig)
    return f"<dt>{name}: {html.escape(reference.title)}</dt><dd>{html.escape(reference.note)}</dd>"


def variants_of(reference: Reference, sites: list[Site]) -> str:
    here = [site for site in sites if site.contig == reference.contig]
    title = f"<h3>{html.escape(reference.title)}</h3>\n"
    if not here:
        shares = [sample.summary["deep_enough_fraction"] for sample in reference.samples]
        return (
            f"{title}<p>No variant among the bases that are deep enough: "
            f"{100 * max(shares):.1f} % of {reference.length:,}.</p>"
        )
    names = [sample.name for sample in reference.samples]
    rows = [
        row(
            (
                f"{site.contig}:{site.position}",
                site.ref,
                site.alt,
                f"{site.qual:.0f}",
                *(describe(site.genotypes[name]) for name in names),
            )
        )
        for site in here
    ]
    head = row(("site", "ref", "alt", "QUAL", *names), cell="th")
    body = "\n".join(rows)
    return (
        f'{title}<div class="wide"><table><thead>{head}</thead><tbody>\n{body}\n'
        "</tbody></table></div>"
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
    "reference",
    "reads",
    "molecules",
    "aligned",
    "mean depth",
    "covered",
    "deep enough",
    "variants",
    "wall time",
    "attempt",
)
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Variant calling on Batchyard</title>
<style>
:root {{ color-scheme: light dark; --ink: light-dark(#1b1f24, #e6edf3);
  --muted: light-dark(#57606a, #9198a1); --rule: light-dark(#d0d7de, #30363d);
  --page: light-dark(#fff, #0d1117); --soft: light-dark(#f6f8fa, #151b23); }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2.5rem auto;
  padding: 0 1.25rem; color: var(--ink); background: var(--page); }}
h1 {{ font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }}
h2 {{ font-size: 1.25rem; margin: 2.4rem 0 .6rem; }}
h3 {{ font-size: 1rem; margin: 1.4rem 0 .4rem; }}
.lead, dd, .key {{ color: var(--muted); }}
.figures {{ display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.4rem 0; padding: 0; }}
.figures li {{ list-style: none; flex: 1 1 9rem; padding: .7rem 1rem; background: var(--soft);
  border: 1px solid var(--rule); border-radius: .5rem; }}
.figures b {{ display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }}
table {{ border-collapse: collapse; width: 100%; font-size: .875rem; }}
th, td {{ text-align: left; padding: .4rem .6rem; font-variant-numeric: tabular-nums;
  border-bottom: 1px solid var(--rule); white-space: nowrap; }}
th {{ color: var(--muted); font-weight: 600; background: var(--soft); white-space: normal;
  vertical-align: bottom; line-height: 1.25; }}
tbody tr:hover {{ background: var(--soft); }}
dt {{ font-weight: 600; margin-top: .6rem; }}
dd {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--rule);
  border-radius: .5rem; }}
.wide {{ overflow-x: auto; }}
</style>
<h1>Variant calling on Batchyard</h1>
<p class="lead">One array job, one child for each sample. This page was written by the job that
depends on the array.</p>
<ul class="figures">
<li><b>{samples}</b> samples</li>
<li><b>{sites}</b> variant sites</li>
<li><b>{bases:,}</b> bases in {references} references</li>
<li><b>{wall_s:.1f} s</b> in the children</li>
</ul>
<h2>Samples</h2>
<div class="wide"><table><thead>{sample_head}</thead><tbody>
{sample_rows}
</tbody></table></div>
<p class="key">Deep enough: the share of the reference with so many usable reads that a variant
would have been found in 19 of 20 cases. Elsewhere, nothing called does not mean no difference.</p>
<dl>
{notes}
</dl>
<h2>Coverage and variants</h2>
<p><img alt="Depth of coverage along each reference, one panel for each sample; marks show the
variants called in it." src="data:image/png;base64,{image}"></p>
<h2>Variants</h2>
{variants}
<p class="key">0/0 same as the reference, 0/1 one of two copies differs, 1/1 both differ, ./. too
few reads to say; a phage has one copy: 0, 1 or a dot. The same calls are in merged.vcf.gz.</p>
</html>
"""


if __name__ == "__main__":
    main()
