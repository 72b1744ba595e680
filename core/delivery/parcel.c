/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/random.h>
#include "core/delivery/parcel.h"

void ps_make_id(char ret_id[PS_ID_LENGTH + 1])
{
	static const char letters[] = "0123456789ABCDFGHJKLMNPQRSTVWXYZ";
	uint8_t chance[PS_ID_LENGTH];

	if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
		abort();
	for (size_t i = 0; i < sizeof chance; i++)
		ret_id[i] = letters[chance[i] % 32];
	ret_id[PS_ID_LENGTH] = '\0';
}
