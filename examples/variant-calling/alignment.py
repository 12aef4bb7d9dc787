"""Where a read comes from: exact local alignment of both strands, with parasail. No files here.

A genome of 50,000 bases needs no index: Smith-Waterman against all of it takes parasail's vector
code milliseconds for a read and cannot miss the best place. For a larger genome, put bwa or
minimap2 in the place of this module.
"""

from typing import Any, NamedTuple


class Scoring(NamedTuple):
    match: int
    mismatch: int
    gap_first: int
    """The first base of a gap costs the opening too."""
    gap_next: int
    min_score: int
    """Below this a hit is what chance gives."""


# The scores of bwa mem; it draws the line of chance where we do.
SHORT_READS = Scoring(match=1, mismatch=-4, gap_first=7, gap_next=1, min_score=30)
# Single molecules err mostly by a base too many or too few, so gaps are cheap. Read backwards
# (not complemented), the long reads of this example score at most 38: that is chance.
LONG_READS = Scoring(match=2, mismatch=-4, gap_first=4, gap_next=2, min_score=60)
MAX_MAPPING_QUALITY = 60

MATCHED, INSERTED, DELETED = 0, 1, 2
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")

Cigar = list[tuple[int, int]]
"""(operation, length), the numbers pysam and the BAM format use."""


class Hit(NamedTuple):
    """One alignment; read positions count on the reference's strand."""

    reverse: bool
    ref_start: int
    ref_end: int
    read_start: int
    read_end: int
    cigar: Cigar
    edits: int
    mapping_quality: int


def reverse_complement(bases: str) -> str:
    return bases.translate(COMPLEMENT)[::-1]


class Aligner:
    def __init__(self, reference: str, scoring: Scoring = SHORT_READS) -> None:
        import parasail

        self._parasail = parasail
        self._scoring = scoring
        self._matrix = parasail.matrix_create("ACGT", scoring.match, scoring.mismatch)
        self._reference = reference

    def align(self, bases: str) -> Hit | None:
        """The best place of a read, or None when no place is better than chance."""
        strands = (bases, reverse_complement(bases))
        found = [self._search(strand, self._reference) for strand in strands]
        reverse = found[1].score > found[0].score
        best = found[reverse].score
        if best < self._scoring.min_score:
            return None
        read = strands[reverse]
        # The path is traced only where the search ended. A gap costs at least gap_next a base, so
        # an alignment with a positive score spans no more of the reference than this.
        span = len(read) * (1 + self._scoring.match // self._scoring.gap_next)
        window_end = found[reverse].end_ref + 1
        window_start = max(0, window_end - span)
        traced = self._parasail.sw_trace_striped_sat(
            read,
            self._reference[window_start:window_end],
            self._scoring.gap_first,
            self._scoring.gap_next,
            self._matrix,
        )
        in_window, read_start, path, edits = self._path(traced)
        ref_start, ref_end = window_start + in_window, window_start + traced.end_ref + 1
        read_end = traced.end_query + 1
        masked = (
            self._reference[:ref_start] + "N" * (ref_end - ref_start) + self._reference[ref_end:]
        )
        second = max(self._search(strand, masked).score for strand in strands)
        return Hit(
            reverse=reverse,
            ref_start=ref_start,
            ref_end=ref_end,
            read_start=read_start,
            read_end=read_end,
            cigar=left_aligned(path, read[read_start:read_end], self._reference[ref_start:ref_end]),
            edits=edits,
            # How much worse the second-best place is: as good gives 0, hopeless gives 60.
            mapping_quality=round(MAX_MAPPING_QUALITY * (1 - min(second, best) / best)),
        )

    def _search(self, read: str, reference: str) -> Any:
        return self._parasail.sw_striped_sat(
            read, reference, self._scoring.gap_first, self._scoring.gap_next, self._matrix
        )

    def _path(self, traced: Any) -> tuple[int, int, Cigar, int]:
        """Where the alignment starts (reference, read), its operations, and how many edits."""
        steps: list[tuple[str, int]] = []
        for packed in traced.cigar.seq:
            letter = self._parasail.Cigar.decode_op(packed).decode("ascii")
            steps.append((letter, self._parasail.Cigar.decode_len(packed)))
        starts = {"D": traced.cigar.beg_ref, "I": traced.cigar.beg_query}
        # parasail writes what lies before a local alignment as a gap at its front.
        while steps[0][0] in starts:
            letter, length = steps.pop(0)
            starts[letter] += length
        path: Cigar = []
        for letter, length in steps:
            operation = {"I": INSERTED, "D": DELETED}.get(letter, MATCHED)
            if path and path[-1][0] == operation:
                length += path.pop()[1]
            path.append((operation, length))
        edits = sum(length for letter, length in steps if letter != "=")
        return starts["D"], starts["I"], path, edits


def left_aligned(path: Cigar, read: str, reference: str) -> Cigar:
    """Move each gap as far left as it goes, which is where VCF wants it.

    In a run of equal letters a gap can stand anywhere at the same score; without one convention the
    reads of one insertion would vote for different sites.
    """
    path = list(path)
    in_read = in_reference = 0
    for index, (operation, length) in enumerate(path):
        inside = 0 < index < len(path) - 1
        between = inside and path[index - 1][0] == path[index + 1][0] == MATCHED
        if operation != MATCHED and between:
            text, end = (read, in_read) if operation == INSERTED else (reference, in_reference)
            gap = text[end : end + length]
            shift = 0
            # One base of the match before must stay, because VCF anchors an indel on it.
            while shift < path[index - 1][1] - 1 and text[end - shift - 1] == gap[-1]:
                gap = gap[-1] + gap[:-1]
                shift += 1
            path[index - 1] = (MATCHED, path[index - 1][1] - shift)
            path[index + 1] = (MATCHED, path[index + 1][1] + shift)
            in_read, in_reference = in_read - shift, in_reference - shift
        in_read += length if operation != DELETED else 0
        in_reference += length if operation != INSERTED else 0
    return path
