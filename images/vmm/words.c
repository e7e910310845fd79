/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm.h"

static const char separators[] = " \t\r\n";

void words_start(struct words *words, char *line)
{
	words->rest = NULL;
	words->next = strtok_r(line, separators, &words->rest);
}

char *word_take(struct words *words)
{
	char *word = words->next;

	if (word)
		words->next = strtok_r(NULL, separators, &words->rest);
	return word;
}

int word_text(struct words *words, struct reply *reply, const char *what, const char **text)
{
	*text = word_take(words);
	return *text ? 0 : fail(reply, EINVAL, "%s is missing", what);
}

int word_number(struct words *words, struct reply *reply, const char *what, uint64_t *number)
{
	char *word = word_take(words), *end;

	if (!word)
		return fail(reply, EINVAL, "%s is missing", what);
	errno = 0;
	*number = strtoull(word, &end, 0);
	if (errno || *end || end == word || *word == '-')
		return fail(reply, EINVAL, "%s is not a number: %.40s", what, word);
	return 0;
}
