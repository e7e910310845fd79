/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accesses as text. Request: r4:GPA, w4:GPA=VALUE, x:GPA; l:0 to take interrupts from now on, p:GPA=VALUE
 * and h:GPA=VALUE to wait, polling or halted, until the 8 bytes at GPA reach VALUE. Answer, one word each: the
 * value read, x for x, ? for an access that was not reached, w for the others, or an intercept that came to us:
 * !TYPE,GPA,GVA,ACCESS,INFO,RIP,INSTRUCTION (all hex).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm.h"

#define DEFAULT_BUDGET_MS	5000

static uint32_t budget_ms = DEFAULT_BUDGET_MS;

static int parse_access(const char *word, struct access *access, struct reply *reply, bool storm)
{
	static const char widths[] = "1248";
	const char *at = word + 1, *width;
	char *end;

	memset(access, 0, sizeof *access);
	static const struct { char letter; uint32_t op; } others[] = {
		{ 'x', OP_EXECUTE }, { 'l', OP_LISTEN }, { 'p', OP_POLL }, { 'h', OP_HALT },
	};
	bool other = false;

	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (*word == others[i].letter) {
			access->op = others[i].op;
			other = true;
		}
	if (!other) {
		if ((*word != 'r' && *word != 'w') || !*at || !(width = strchr(widths, *at)))
			return fail(reply, EINVAL, "not an access: %.60s", word);
		access->op = (*word == 'r' ? OP_READ1 : OP_WRITE1) + (uint32_t)(width - widths);
		at++;
	}
	if (*at != ':')
		return fail(reply, EINVAL, "not an access: %.60s", word);
	access->address = strtoull(at + 1, &end, 16);
	if (end == at + 1)
		return fail(reply, EINVAL, "no address in %.60s", word);
	if (storm || strchr("wph", *word)) {
		if (*end != '=')
			return fail(reply, EINVAL, "no value in %.60s", word);
		access->expected = access->value = strtoull(end + 1, &end, 16);
	}
	if (*end)
		return fail(reply, EINVAL, "rest after %.60s", word);
	if (access->address > LAYOUT_ADDRESSABLE - sizeof access->value)
		return fail(reply, ERANGE, "the child addresses 512 GiB, not %#lx", access->address);
	return 0;
}

struct job *parse_job(struct words *words, struct reply *reply, bool storm)
{
	struct job *job = job_new(0);
	size_t room = 0;

	if (!job)
		return fail(reply, ENOMEM, "accesses"), NULL;
	while (words->next && strcmp(words->next, "/")) {
		if (job->count == room) {
			struct access *larger = realloc(job->list, (room = room * 2 + 64) * sizeof *larger);

			if (!larger)
				return fail(reply, ENOMEM, "accesses"), job_free(job), NULL;
			job->list = larger;
		}
		if (parse_access(word_take(words), &job->list[job->count], reply, storm))
			return job_free(job), NULL;
		job->count++;
	}
	if (!job->count)
		return fail(reply, EINVAL, "no access given"), job_free(job), NULL;
	return job;
}

static void print_message(FILE *out, const struct abi_message *message)
{
	const struct abi_memory_intercept *memory = (const void *)message->payload;
	bool has_memory = message->type == ABI_MSG_UNMAPPED_GPA || message->type == ABI_MSG_GPA_INTERCEPT;

	fprintf(out, " !%x,%lx,%lx,%x,%x,%lx,", message->type, has_memory ? memory->gpa : 0,
		has_memory ? memory->gva : 0, memory->header.access, has_memory ? memory->info : 0u, memory->header.rip);
	for (uint32_t i = 0; has_memory && i < memory->instruction_size && i < ABI_INSTRUCTION_MAX; i++)
		fprintf(out, "%02x", memory->instruction[i]);
}

static void print_job(FILE *out, const struct job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		const struct access *access = &job->list[i];

		if (access->op == OP_BARRIER)
			continue;
		if (access->status == STATUS_INTERCEPTED)
			print_message(out, access->message);
		else if (access->status != STATUS_DONE)
			fputs(" ?", out);
		else if (access->op <= OP_READ8)
			fprintf(out, " %lx", access->value);
		else
			fputs(access->op == OP_EXECUTE ? " x" : " w", out);
	}
}

static struct vp *take_vp(struct words *words, struct reply *reply)
{
	uint64_t index;

	return word_number(words, reply, "VP", &index) ? NULL : partition_vp(index, reply);
}

static int collect(struct vp *vp, uint32_t milliseconds, struct reply *reply)
{
	struct job *job = vp_collect(vp, milliseconds, reply);

	if (!job)
		return -1;
	print_job(reply->out, job);
	job_free(job);
	return 0;
}

/* submit VP ACCESS...: start, do not wait */
int submit_verb(struct words *words, struct reply *reply)
{
	struct vp *vp = take_vp(words, reply);
	struct job *job = vp ? parse_job(words, reply, false) : NULL;

	if (!job)
		return -1;
	if (!vp_submit(vp, job, reply))
		return 0;
	job_free(job);
	return -1;
}

/* collect VP MILLISECONDS -> results of what was submitted */
int collect_verb(struct words *words, struct reply *reply)
{
	struct vp *vp = take_vp(words, reply);
	uint64_t milliseconds;

	if (!vp || word_number(words, reply, "milliseconds", &milliseconds))
		return -1;
	return collect(vp, (uint32_t)milliseconds, reply);
}

/* access VP ACCESS... -> results */
int access_verb(struct words *words, struct reply *reply)
{
	struct vp *vp = take_vp(words, reply);
	struct job *job = vp ? parse_job(words, reply, false) : NULL;

	if (!job)
		return -1;
	if (vp_submit(vp, job, reply)) {
		job_free(job);
		return -1;
	}
	return collect(vp, budget_ms, reply);
}

/* Put a meeting point before each of the first "common" accesses. */
static struct job *with_barriers(struct job *plain, size_t common, uint64_t vps)
{
	struct job *job = job_new(plain->count + common);

	for (size_t i = 0, n = 0; job && i < plain->count; i++) {
		if (i < common)
			job->list[n++] = (struct access){
				.op = OP_BARRIER, .address = LAYOUT_BARRIER, .value = (i + 1) * vps,
			};
		job->list[n++] = plain->list[i];
	}
	job_free(plain);
	return job;
}

static int run_together(struct vp **vps, struct job **jobs, size_t n, bool lockstep, struct reply *reply)
{
	size_t common = lockstep ? SIZE_MAX : 1, started = 0;
	struct reply first = { 0 };
	int result = 0;

	for (size_t i = 0; lockstep && i < n; i++)
		common = jobs[i]->count < common ? jobs[i]->count : common;
	memset(partition_ram() + LAYOUT_BARRIER, 0, sizeof(uint64_t));
	for (size_t i = 0; i < n; i++) {
		jobs[i] = with_barriers(jobs[i], common, n);
		if (!jobs[i])
			result = fail(reply, ENOMEM, "accesses");
	}
	for (; started < n && !result; started++) {
		result = vp_submit(vps[started], jobs[started], reply);
		if (result)
			break;
		jobs[started] = NULL;
	}
	if (result)			/* the others wait for one that does not come: give them up at once */
		first = *reply;
	for (size_t i = 0; i < started; i++) {
		if (i)
			fputs(" /", reply->out);
		if (collect(vps[i], result ? 0 : budget_ms, reply) && !result) {
			result = -1;
			first = *reply;
		}
	}
	if (result)
		*reply = first;
	return result;
}

/* parallel together|lockstep VP ACCESS... / VP ACCESS... -> results / results: meet in the guest, then go */
int parallel_verb(struct words *words, struct reply *reply)
{
	struct vp *vps[MAX_VPS];
	struct job *jobs[MAX_VPS] = { 0 };
	size_t n = 0;
	const char *how;
	int result = 0;

	if (word_text(words, reply, "together or lockstep", &how))
		return -1;
	if (strcmp(how, "together") && strcmp(how, "lockstep"))
		return fail(reply, EINVAL, "parallel together or lockstep, not %.20s", how);
	do {
		if (n == MAX_VPS) {
			result = fail(reply, EINVAL, "more than %d VPs", MAX_VPS);
			break;
		}
		vps[n] = take_vp(words, reply);
		for (size_t i = 0; vps[n] && i < n; i++)
			if (vps[i] == vps[n])
				result = fail(reply, EINVAL, "a VP is named twice");
		if (result || !vps[n] || !(jobs[n] = parse_job(words, reply, false))) {
			result = -1;
			break;
		}
		n++;
	} while (word_take(words));
	if (!result)
		result = run_together(vps, jobs, n, *how == 'l', reply);
	for (size_t i = 0; i < MAX_VPS; i++)
		job_free(jobs[i]);
	return result;
}

/* budget MILLISECONDS: how long one access or parallel request may run */
int budget_verb(struct words *words, struct reply *reply)
{
	uint64_t milliseconds;

	if (word_number(words, reply, "milliseconds", &milliseconds))
		return -1;
	if (!milliseconds || milliseconds > UINT32_MAX)
		return fail(reply, EINVAL, "a budget of %lu ms", milliseconds);
	budget_ms = (uint32_t)milliseconds;
	return 0;
}

/* regs VP -> name=value ... */
int registers_verb(struct words *words, struct reply *reply)
{
	struct vp *vp = take_vp(words, reply);

	return vp ? vp_show_registers(vp, reply) : -1;
}
