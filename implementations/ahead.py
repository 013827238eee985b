"""What a run looks at before torch is loaded, which takes long: prompts, teachers, what may be sent, the lock."""

from __future__ import annotations

from typing import NamedTuple

from .options import Options
from .settings import Plan, make_plan, make_task
from .tasks.task import Task
from .teachers import named
from .teachers.open import check_remote, open_remote
from .workdir import lock


class Ready(NamedTuple):
    """What was read meanwhile."""

    task: Task
    plan: Plan


def look(options: Options) -> Ready:
    """Task and settings of the run. Raises InputError where it could not begin, or not end well."""
    task = make_task(options)
    named.check(options, task)
    plan = make_plan(options, task)
    if not options.logs and not options.answered:  # else nobody is asked
        for spec in options.teachers:
            if spec.partition(":")[0] != "local":
                check_remote(options, open_remote(spec))
    lock(options.workdir).close()  # the run takes it again
    return Ready(task, plan)
