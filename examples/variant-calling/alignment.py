"""Where a read comes from: exact local alignment of both strands, with parasail. No files here.

A slice of 4,200 bases needs no index: Smith-Waterman against all of it takes parasail's vector code
well under a millisecond and cannot miss the best place. Scores are those of bwa mem. For a whole
genome, put bwa or minimap2 in the place of this module.
"""

from typing import Any, NamedTuple

MATCH, MISMATCH = 1, -4
# The first base of a gap costs the opening too.
GAP_FIRST, GAP_NEXT = 7, 1
# Below this score a hit is what chance gives; bwa mem draws the same line.
MIN_SCORE = 30
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
    def __init__(self, reference: str) -> None:
        import parasail

        self._parasail = parasail
        self._matrix = parasail.matrix_create("ACGT", MATCH, MISMATCH)
        self._reference = reference

    def align(self, bases: str) -> Hit | None:
        """The best place of a read, or None when no place is better than chance."""
        strands = (bases, reverse_complement(bases))
        scores = [self._score(strand, self._reference) for strand in strands]
        best = max(scores)
        if best < MIN_SCORE:
            return None
        reverse = scores[1] > scores[0]
        read = strands[reverse]
        traced = self._parasail.sw_trace_striped_sat(
            read, self._reference, GAP_FIRST, GAP_NEXT, self._matrix
        )
        ref_start, read_start, path, edits = self._path(traced)
        ref_end, read_end = traced.end_ref + 1, traced.end_query + 1
        masked = (
            self._reference[:ref_start] + "N" * (ref_end - ref_start) + self._reference[ref_end:]
        )
        second = max(self._score(strand, masked) for strand in strands)
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

    def _score(self, read: str, reference: str) -> int:
        made = self._parasail.sw_striped_sat(read, reference, GAP_FIRST, GAP_NEXT, self._matrix)
        return int(made.score)

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
