# SPDX-License-Identifier: GPL-2.0-or-later
"""A doubt about a call names the patch that touches its caller."""

from lab.model.result import KernelRun, ScenarioOutcome
from lab.model.series import Patch, Series
from lab.model.verdict import Verdict
from lab.validate.blame import name_patches, patches_touching

HUNK = b"""diff --git a/drivers/hv/x.c b/drivers/hv/x.c
@@ -10,3 +10,4 @@ static int mshv_touch(struct mshv_vp *vp)
 \tint a;
%s
 \treturn 0;
"""


def patch(subject, change):
    return Patch(subject, "A <a@b>", "<m@x>", HUNK % change, ("drivers/hv/x.c",))


SERIES = Series("s", (patch("one", b"+\tnew_call();"), patch("two", b"+static int mshv_fresh(void)")))


def test_a_hunk_inside_the_function_names_its_patch():
    assert patches_touching(SERIES, "mshv_touch") == ["one", "two"]


def test_a_new_definition_names_its_patch():
    assert patches_touching(SERIES, "mshv_fresh") == ["two"]


def test_a_mere_call_of_the_function_does_not():
    assert patches_touching(SERIES, "new_call") == []


def test_reasons_with_a_caller_get_the_patch_and_others_stay():
    reasons = ("X (0x1234) not implemented, status 0x2, called from mshv_fresh+0x20", "something else")
    outcome = ScenarioOutcome("s", (), Verdict.INCONCLUSIVE, reasons)
    run = KernelRun("patched", "7.3", "plain", "k", Verdict.INCONCLUSIVE, reasons, (outcome,))
    named = name_patches(run, SERIES)
    assert named.outcomes[0].reasons == (reasons[0] + ', touched by the patch "two"', "something else")
    assert named.reasons == named.outcomes[0].reasons
