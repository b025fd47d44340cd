/* shrink.h - the smallest part of a history that shows that it is not linearizable.
 *
 *     history small;
 *     if (shrink(checker, &h, &small) == 0) ... history_done(&small)
 *
 * Whatever is left out makes no difference: shrink.c tells why that can be said.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LINCHECK_SHRINK_H
#define LINCHECK_SHRINK_H

#include "checker.h"

/* h is one that the checker found to be a violation. Each operation of *ret has the place in h that it had as its id.
 * Of a bank, *ret may be about some of its accounts only: then those have new numbers, and what an operation did to
 * others is left out. *ret_accounts, if it is not NULL, has a bit for each account of h that *ret is about. -1 when
 * memory is out; then *ret is not set. */
int shrink(checker *c, const history *h, history *ret, unsigned *ret_accounts);

#endif
