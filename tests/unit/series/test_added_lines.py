# SPDX-License-Identifier: GPL-2.0-or-later
"""Line numbers of a diff without context."""

from lab.series.diff import added_lines

DIFF = """\
diff --git a/drivers/hv/a.c b/drivers/hv/a.c
index 1..2 100644
--- a/drivers/hv/a.c
+++ b/drivers/hv/a.c
@@ -3 +3,2 @@ static int f(void)
-\told;
+++ looks like a header
+\tnew;
@@ -9,2 +10,0 @@
-\tgone;
-\tgone too;
@@ -20,0 +20 @@
+\tlast;
\\ No newline at end of file
diff --git a/new.c b/new.c
new file mode 100644
--- /dev/null
+++ b/new.c
@@ -0,0 +1,2 @@
+one
+two
diff --git a/dead.c b/dead.c
deleted file mode 100644
--- a/dead.c
+++ /dev/null
@@ -1 +0,0 @@
-one
"""


def test_new_and_changed_lines_have_the_numbers_of_the_new_file():
    assert added_lines(DIFF) == {"drivers/hv/a.c": (3, 4, 20), "new.c": (1, 2)}


def test_no_diff_has_no_lines():
    assert added_lines("") == {}
