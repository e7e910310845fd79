/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A storm: a VP reads known words over and over while something happens to the memory under them. What each
 * read gave is counted, not kept: right, all ones (nobody answered), an intercept, or a foreign value.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm.h"

#define FIRST_ROUND_MS		5000
#define LOOK_US			500

static void count_access(struct storm *storm, struct access *access)
{
	static const uint64_t ones[] = { 0xff, 0xffff, 0xffffffff, UINT64_MAX };

	if (access->status == STATUS_INTERCEPTED) {
		if (access->message->type == ABI_MSG_UNMAPPED_GPA)
			storm->unmapped++;
		else if (access->message->type == ABI_MSG_GPA_INTERCEPT)
			storm->refused++;
		else
			storm->other++;
		free(access->message);
		access->message = NULL;
	} else if (access->value == access->expected) {
		storm->right++;
	} else if (access->value == ones[access->op]) {
		storm->ones++;
	} else if (!storm->foreign++) {
		storm->address = access->address;
		storm->value = access->value;
	}
}

bool storm_goes_on(struct job *job, bool last)
{
	struct storm *storm = &job->storm;

	for (size_t i = 0; i < job->count; i++)
		count_access(storm, &job->list[i]);
	return atomic_fetch_add(&storm->rounds, 1) + 1 < storm->limit && !last;
}

/* storm VP ROUNDS rN:GPA=VALUE...: at most so many rounds, until "calm"; returns when the first is over */
int storm_verb(struct words *words, struct reply *reply)
{
	uint64_t index, rounds;

	if (word_number(words, reply, "VP", &index) || word_number(words, reply, "rounds", &rounds))
		return -1;
	struct vp *vp = partition_vp(index, reply);
	struct job *job = vp ? parse_job(words, reply, true) : NULL;

	if (!job)
		return -1;
	for (size_t i = 0; i < job->count; i++)
		if (job->list[i].op > OP_READ8) {
			job_free(job);
			return fail(reply, EINVAL, "a storm only reads");
		}
	job->storm.limit = rounds ? rounds : 1;
	if (vp_submit(vp, job, reply)) {
		job_free(job);
		return -1;
	}
	for (int i = 0; i < FIRST_ROUND_MS * 1000 / LOOK_US && !atomic_load(&job->storm.rounds); i++)
		usleep(LOOK_US);
	return 0;
}

/* calm VP MILLISECONDS -> counts; the last round has begun after this was asked for */
int calm_verb(struct words *words, struct reply *reply)
{
	uint64_t index, milliseconds;

	if (word_number(words, reply, "VP", &index) || word_number(words, reply, "milliseconds", &milliseconds))
		return -1;
	struct vp *vp = partition_vp(index, reply);
	struct job *job = vp ? vp_calm(vp, (uint32_t)milliseconds, reply) : NULL;

	if (!job)
		return -1;
	const struct storm *storm = &job->storm;
	fprintf(reply->out, " rounds=%lu right=%lu ones=%lu unmapped=%lu refused=%lu other=%lu foreign=%lu address=%#lx "
		"value=%#lx", atomic_load(&storm->rounds), storm->right, storm->ones, storm->unmapped, storm->refused,
		storm->other, storm->foreign, storm->address, storm->value);
	job_free(job);
	return 0;
}
