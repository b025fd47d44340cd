/* doctor.h - kvcli doctor: a look at the server's health. SPDX-License-Identifier: MIT */
#ifndef KVCLI_DOCTOR_H
#define KVCLI_DOCTOR_H

#include "conversation.h"

/* Prints what is fine, what could be better and what is wrong; EXIT_SERVER when something is wrong. */
exit_status doctor_run(conversation *c);

#endif
