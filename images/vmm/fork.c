/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of this process: it has its own mappings of what is mapped here, and this one's files. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm.h"

/* fork [orphan] -> PID: the copy does nothing until it is killed; it ends with this process unless orphaned */
int fork_verb(struct words *words, struct reply *reply)
{
	bool orphan = words->next && word_take(words);
	pid_t pid = fork();

	if (pid < 0)
		return fail(reply, errno, "fork");
	if (!pid) {
		/* Our client's channel must not stay open because of the copy. */
		for (int fd = 0; orphan && fd < 3; fd++)
			close(fd);
		if (!orphan)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	fprintf(reply->out, " %d", pid);
	return 0;
}

/* unfork PID: kill the copy and wait for its end */
int unfork_verb(struct words *words, struct reply *reply)
{
	uint64_t pid;

	if (word_number(words, reply, "process", &pid))
		return -1;
	if (!pid || kill((pid_t)pid, SIGKILL) || waitpid((pid_t)pid, NULL, 0) < 0)
		return fail(reply, errno, "ending process %lu", pid);
	return 0;
}
