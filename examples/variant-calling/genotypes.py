"""The genotype model of the example: base qualities in, a genotype and a QUAL out.

Pure arithmetic, no files. The model is the textbook one behind most small-variant callers: each
read is a draw from one of the chromosomes (a human has two, a phage one), wrong with the
probability its quality states. For one alternative allele, with g copies of it on p chromosomes:

    P(read | g) = (1 - g/p) * P(read | ref) + (g/p) * P(read | alt)

Not modelled, and named here so that nobody mistakes an example for a production caller: more
than one alternative allele at a site, contamination, strand bias, correlated errors.
"""

import math
from typing import NamedTuple

# Prior odds of a site in one human: about 1 in 1,000 differs from the reference, and a
# heterozygous difference is about twice as frequent as a homozygous one.
DIPLOID_PRIOR = (1.0 - 0.001 - 0.0005, 0.001, 0.0005)
# For one chromosome, the sum of the two.
HAPLOID_PRIOR = (1.0 - 0.0015, 0.0015)


class Call(NamedTuple):
    genotype: tuple[int, ...]
    """0 for the reference's allele, 1 for the other; one number for each chromosome."""
    qual: float
    """Phred-scaled probability that the sample does not carry the allele at all."""
    genotype_quality: int
    """Phred-scaled probability that the genotype is another one."""


def call(ref_errors: list[float], alt_errors: list[float], *, ploidy: int) -> Call:
    """Choose the genotype of one site.

    Args:
        ref_errors: For each read that shows the reference allele, the probability it is wrong.
        alt_errors: The same for each read that shows the alternative allele.
        ploidy: How many chromosomes of the kind there are: 1 or 2.
    """
    log_posteriors = []
    for copies, prior in enumerate(HAPLOID_PRIOR if ploidy == 1 else DIPLOID_PRIOR):
        alt_share = copies / ploidy
        total = math.log(prior)
        for error in ref_errors:
            total += math.log((1 - alt_share) * (1 - error) + alt_share * error)
        for error in alt_errors:
            total += math.log((1 - alt_share) * error + alt_share * (1 - error))
        log_posteriors.append(total)
    best = max(range(ploidy + 1), key=log_posteriors.__getitem__)
    others = [value for index, value in enumerate(log_posteriors) if index != best]
    norm = _log_sum(log_posteriors)
    return Call(
        (0,) * (ploidy - best) + (1,) * best,
        _phred(log_posteriors[0] - norm),
        min(99, round(_phred(_log_sum(others) - norm))),
    )


def error_of(quality: int) -> float:
    """The error probability a Phred quality states, kept away from 0 and 1."""
    return float(min(0.5, max(1e-4, 10 ** (-quality / 10))))


def _log_sum(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _phred(log_probability: float) -> float:
    return max(0.0, min(999.0, -10 * log_probability / math.log(10)))
