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

/* h is one that the checker found to be a violation. -1 when memory is out; then *ret is not set. */
int shrink(checker *c, const history *h, history *ret);

#endif
