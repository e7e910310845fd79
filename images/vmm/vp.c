/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual processor and the thread that runs it. The thread takes one job at a time, works it off
 * in ringfuls and survives intercepts: what reaches us is the result of that access, the payload
 * goes on with the next. A job that does not end is first interrupted by a signal; if the kernel
 * does not even return then, the VP is stuck and refuses further jobs.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "vmm.h"

#define GIVE_UP_STEP_MS		10
#define GIVE_UP_STEPS		100
#define NANO			1000000000l

enum state { IDLE, WORKING, FINISHED };

struct vp {
	struct vcpu cpu;
	uint8_t *ram;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum state state;
	struct job *job;
	bool abandoned;			/* nobody waits for the job any more */
	bool quit;
	bool in_long_mode;
	atomic_bool cancel;
};

struct job *job_new(size_t count)
{
	struct job *job = calloc(1, sizeof *job);

	if (job)
		job->list = calloc(count ? count : 1, sizeof *job->list);
	if (!job || !job->list) {
		free(job);
		return NULL;
	}
	job->count = count;
	return job;
}

void job_free(struct job *job)
{
	for (size_t i = 0; job && i < job->count; i++)
		free(job->list[i].message);
	if (job)
		free(job->list);
	free(job);
}

static int job_fail(struct job *job, int error, const char *what)
{
	job->error = error;
	snprintf(job->text, sizeof job->text, "%s: %s", what, strerror(error));
	return -1;
}

static uint64_t area(const struct vp *vp)
{
	return LAYOUT_VP_AREA + (uint64_t)vp->cpu.index * LAYOUT_VP_AREA_SIZE;
}

/* Let the payload go on with the commands [first, end) of the ring. */
static int point_at(struct vp *vp, struct job *job, size_t first, size_t end)
{
	const struct payload_header *payload = (const void *)payload_image;
	const struct payload_registers at = {
		.rip = payload->entry,
		.rsp = area(vp) + LAYOUT_VP_AREA_SIZE,
		.rbx = area(vp) + first * COMMAND_SIZE,
		.rbp = area(vp) + end * COMMAND_SIZE,
	};

	if (!vp->in_long_mode && registers_long_mode(&vp->cpu))
		return job_fail(job, errno, "setting up long mode");
	vp->in_long_mode = true;
	if (registers_point(&vp->cpu, &at))
		return job_fail(job, errno, "setting the payload's registers");
	return 0;
}

/* Run until the payload has worked off the ring. */
static int run_until_done(struct vp *vp, struct job *job, struct access *list, struct command *ring, size_t count)
{
	size_t at = 0;

	if (point_at(vp, job, 0, count))
		return -1;
	for (;;) {
		struct abi_message got = { 0 };
		const struct abi_message *message = &got;
		const struct abi_port_intercept *port = (const void *)got.payload;

		if (atomic_load(&vp->cancel))
			return job_fail(job, ETIMEDOUT, "the VP did not end its accesses in time");
		int error = backend_run(&vp->cpu, &got) ? errno : 0;

		if (error == EINTR)
			continue;
		while (at < count && ring[at].status == STATUS_DONE)
			at++;
		if (error && (error != EFAULT || at >= count || backend_fault(&vp->cpu, &list[at], &got)))
			return job_fail(job, error, backend.run);
		if (message->type == ABI_MSG_IO_PORT && port->port == PORT_DONE)
			return at >= count ? 0 : job_fail(job, EPROTO, "the payload ended early");
		if (at >= count)
			return job_fail(job, EPROTO, "an intercept outside of any access");
		list[at].message = malloc(sizeof *message);
		if (!list[at].message)
			return job_fail(job, ENOMEM, "keeping an intercept message");
		*list[at].message = *message;
		ring[at++].status = STATUS_INTERCEPTED;
		/* After a triple fault the registers are worthless. */
		if (message->type == ABI_MSG_UNRECOVERABLE)
			vp->in_long_mode = false;
		if (point_at(vp, job, at, count))
			return -1;
	}
}

static int run_ring(struct vp *vp, struct job *job, struct access *list, size_t count)
{
	struct command *ring = (void *)(vp->ram + area(vp));

	for (size_t i = 0; i < count; i++)
		ring[i] = (struct command){ .address = list[i].address, .value = list[i].value, .op = list[i].op };
	int result = run_until_done(vp, job, list, ring, count);
	for (size_t i = 0; i < count; i++) {
		list[i].status = ring[i].status;
		list[i].value = ring[i].value;
	}
	return result;
}

static int run_job(struct vp *vp, struct job *job)
{
	for (size_t i = 0; i < job->count; i += RING_COMMANDS) {
		size_t left = job->count - i;

		if (run_ring(vp, job, job->list + i, left < RING_COMMANDS ? left : RING_COMMANDS))
			return -1;
	}
	return 0;
}

static void *vp_thread(void *argument)
{
	struct vp *vp = argument;
	char name[16];

	snprintf(name, sizeof name, "vp-%u", vp->cpu.index);
	prctl(PR_SET_NAME, name);	/* told in splats, and by it a debugger finds the thread */
	pthread_mutex_lock(&vp->lock);
	while (!vp->quit) {
		if (vp->state != WORKING) {
			pthread_cond_wait(&vp->changed, &vp->lock);
			continue;
		}
		struct job *job = vp->job;

		pthread_mutex_unlock(&vp->lock);
		bool last;
		do
			last = atomic_load(&job->storm.calm);
		while (!run_job(vp, job) && job->storm.limit && storm_goes_on(job, last));
		pthread_mutex_lock(&vp->lock);
		vp->state = FINISHED;
		if (vp->abandoned) {
			job_free(job);
			vp->job = NULL;
			vp->abandoned = false;
			vp->state = IDLE;
		}
		pthread_cond_broadcast(&vp->changed);
	}
	pthread_mutex_unlock(&vp->lock);
	return NULL;
}

struct vp *vp_open(int partition, uint32_t index, uint8_t *ram, struct reply *reply)
{
	struct vp *vp = calloc(1, sizeof *vp);
	pthread_condattr_t monotonic;

	if (!vp)
		return fail(reply, ENOMEM, "VP %u", index), NULL;
	vp->cpu.index = index;
	vp->ram = ram;
	if (backend_vp(partition, &vp->cpu)) {
		fail(reply, errno, "%s %u", backend.create_vp, index);
		return free(vp), NULL;
	}
	pthread_mutex_init(&vp->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&vp->changed, &monotonic);
	int error = pthread_create(&vp->thread, NULL, vp_thread, vp);
	if (error) {
		fail(reply, error, "thread of VP %u", index);
		backend_vp_close(&vp->cpu);
		return free(vp), NULL;
	}
	return vp;
}

/* Under the lock: wait until the thread is not WORKING, at most so long. */
static bool wait_not_working(struct vp *vp, uint64_t milliseconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += milliseconds / 1000;
	until.tv_nsec += milliseconds % 1000 * 1000000l;
	if (until.tv_nsec >= NANO)
		until.tv_sec++, until.tv_nsec -= NANO;
	while (vp->state == WORKING)
		if (pthread_cond_timedwait(&vp->changed, &vp->lock, &until))
			break;
	return vp->state != WORKING;
}

/* Under the lock. A signal that lands before the ioctl is lost, so send it more than once. */
static bool interrupt(struct vp *vp)
{
	atomic_store(&vp->cancel, true);
	for (int i = 0; i < GIVE_UP_STEPS && vp->state == WORKING; i++) {
		pthread_kill(vp->thread, SIGUSR1);
		wait_not_working(vp, GIVE_UP_STEP_MS);
	}
	return vp->state != WORKING;
}

bool vp_free(struct vp *vp)
{
	pthread_mutex_lock(&vp->lock);
	vp->quit = true;
	bool back = interrupt(vp);
	pthread_cond_broadcast(&vp->changed);
	pthread_mutex_unlock(&vp->lock);
	close(vp->cpu.fd);
	if (!back)
		return false;		/* leave it all to the end of the process */
	pthread_join(vp->thread, NULL);
	vp->cpu.fd = -1;
	backend_vp_close(&vp->cpu);
	job_free(vp->job);
	pthread_cond_destroy(&vp->changed);
	pthread_mutex_destroy(&vp->lock);
	free(vp);
	return true;
}

int vp_submit(struct vp *vp, struct job *job, struct reply *reply)
{
	int result = 0;

	pthread_mutex_lock(&vp->lock);
	if (vp->state == WORKING && vp->abandoned) {
		result = fail(reply, EBUSY, "VP %u is stuck in %s since an earlier timeout", vp->cpu.index, backend.run);
	} else if (vp->state != IDLE) {
		result = fail(reply, EBUSY, "VP %u has a job already; collect it first", vp->cpu.index);
	} else {
		atomic_store(&vp->cancel, false);
		vp->job = job;
		vp->state = WORKING;
		pthread_cond_broadcast(&vp->changed);
	}
	pthread_mutex_unlock(&vp->lock);
	return result;
}

struct job *vp_collect(struct vp *vp, uint32_t milliseconds, struct reply *reply)
{
	struct job *job = NULL;

	pthread_mutex_lock(&vp->lock);
	if (vp->state == IDLE) {
		fail(reply, ENOENT, "VP %u has no job", vp->cpu.index);
	} else if (vp->abandoned) {
		fail(reply, EBUSY, "VP %u is stuck in %s since an earlier timeout", vp->cpu.index, backend.run);
	} else if (wait_not_working(vp, milliseconds) || interrupt(vp)) {
		job = vp->job;
		vp->job = NULL;
		vp->state = IDLE;
	} else {
		vp->abandoned = true;
		fail(reply, ETIMEDOUT, "VP %u is stuck: %s did not return for %u ms, nor after signals",
		     vp->cpu.index, backend.run, milliseconds);
	}
	pthread_mutex_unlock(&vp->lock);
	if (job && job->error) {
		size_t done = 0;

		while (done < job->count && job->list[done].status != STATUS_PENDING)
			done++;
		fail(reply, job->error, "VP %u, %zu of %zu accesses done: %s", vp->cpu.index, done, job->count, job->text);
		job_free(job);
		return NULL;
	}
	return job;
}

struct job *vp_calm(struct vp *vp, uint32_t milliseconds, struct reply *reply)
{
	pthread_mutex_lock(&vp->lock);
	bool storm = vp->state != IDLE && vp->job && vp->job->storm.limit;
	if (storm)
		atomic_store(&vp->job->storm.calm, true);
	pthread_mutex_unlock(&vp->lock);
	if (!storm)
		return fail(reply, ENOENT, "no storm on VP %u", vp->cpu.index), NULL;
	return vp_collect(vp, milliseconds, reply);
}

int vp_file(const struct vp *vp) { return vp->cpu.fd; }

int vp_show_registers(struct vp *vp, struct reply *reply)
{
	static const struct { const char *name; uint32_t number; } words[] = {
		{ "rax", ABI_REG_RAX }, { "rbx", ABI_REG_RBX }, { "rbp", ABI_REG_RBP }, { "rsp", ABI_REG_RSP },
		{ "rdi", ABI_REG_RDI }, { "rip", ABI_REG_RIP }, { "rflags", ABI_REG_RFLAGS },
		{ "cr0", ABI_REG_CR0 }, { "cr2", ABI_REG_CR2 }, { "cr3", ABI_REG_CR3 }, { "cr4", ABI_REG_CR4 },
		{ "efer", ABI_REG_EFER },
	};
	enum { COUNT = sizeof words / sizeof *words };
	uint32_t names[COUNT];
	union abi_value values[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		names[i] = words[i].number;
	if (registers_get(&vp->cpu, names, values, COUNT))
		return fail(reply, errno, "reading the registers of VP %u", vp->cpu.index);
	for (size_t i = 0; i < COUNT; i++)
		fprintf(reply->out, " %s=%#lx", words[i].name, values[i].word[0]);
	return 0;
}
