# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine template from elsewhere cannot run code, read files or end in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.templates import load_machine

ATTEMPTS = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of our function": "{{ param.__globals__ }}",
    "globals of jinja's": "{{ lipsum.__globals__['os'].system('touch MARK') }}",
    "popen": "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
    "format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "attr filter": "{{ ''|attr('__class__') }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import '/etc/passwd' as x %}",
    "extends": "{% extends '/etc/passwd' %}",
    "long range": "{{ range(10**9)|list }}",
    "wrong type for a filter": "{{ []|words }}",
    "endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "too much memory": "{{ 'a' * 10**14 }}",
    "deep expression": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "deep TOML": "a = " + "[" * 5000,
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_an_attempt_to_break_out_is_bad_input(tmp_path: Path, what: str) -> None:
    path = tmp_path / "m.toml.j2"
    mark = tmp_path / "mark"
    path.write_text(
        'name = "x"\ncpus = 1\nmemory = "1G"\n' + ATTEMPTS[what].replace("MARK", str(mark)) + "\n"
    )
    with pytest.raises(BadInput) as caught:
        load_machine(str(path))
    assert str(path) in caught.value.where
    assert not mark.exists()
