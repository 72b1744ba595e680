/* SPDX-License-Identifier: MIT */
/*
 * core/process/place.h - which mail process serves a user. For speed only: correctness never rests on it.
 *
 * Where each user has a process of their own it is no process's number, but tells users apart just the same.
 */
#ifndef CORE_PROCESS_PLACE_H
#define CORE_PROCESS_PLACE_H

#include <stdint.h>

/* FNV-1a over the name. processes 0: of no matter how many. */
static inline uint32_t ps_place_of(const char *user, uint32_t processes)
{
	uint32_t hash = 2166136261u;

	for (; *user; user++)
		hash = (hash ^ (uint8_t)*user) * 16777619u;
	return processes ? hash % processes : hash;
}

#endif
