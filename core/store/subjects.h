/* SPDX-License-Identifier: MIT */
/*
 * core/store/subjects.h - the base subjects of messages, and the table of RFC 5256 section 3, REFERENCES, step 5.
 */
#ifndef CORE_STORE_SUBJECTS_H
#define CORE_STORE_SUBJECTS_H

#include "postern/message.h"

struct ps_subjects;

struct ps_subjects *ps_subjects_create(size_t messages);
void ps_subjects_destroy(struct ps_subjects *subjects); /* destroy(NULL) does nothing */
/* Without a cache the subject is empty. */
void ps_subjects_add(struct ps_subjects *subjects, uint32_t message, const struct ps_cache *cache);
bool ps_subjects_empty(const struct ps_subjects *subjects, uint32_t message);
bool ps_subjects_reply(const struct ps_subjects *subjects, uint32_t message); /* or forwarded */
/* What the table has for the message's subject, after all were added; UINT32_MAX at first. */
uint32_t *ps_subjects_entry(struct ps_subjects *subjects, uint32_t message);

#endif
