"""The launchers of the documents: the Slurm script runs with stand-ins for Slurm, Accelerate reads its file."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType

DOCS = Path(__file__).resolve().parents[1] / "docs" / "how-to"
Start = Callable[[], "subprocess.Popen[bytes]"]
TASKS = 3
# Like Slurm's `srun`: TERM kills the tasks at once; the exit code is the largest one of the tasks.
SRUN = r"""
echo "$@" > srun.words
while [[ $1 == --* ]]; do shift; done
pids=()
for rank in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" & pids+=($!)
done
trap 'kill -KILL "${pids[@]}"' TERM
echo "${pids[@]}" > tasks
largest=0
for pid in "${pids[@]}"; do
    wait "$pid"; code=$?
    (( code > largest )) && largest=$code
done
exit $largest
"""
SCANCEL = r"""
echo "$@" >> scancel.words
[[ "$*" == "--signal=TERM 4711" ]] && kill -TERM $(cat tasks)
"""
SCONTROL = r"""
case "$*" in
    "show hostnames node[1-2]") printf 'node1\nnode2\n' ;;
    "requeue 4711") ls *.state > requeued; exit ;;
    *) exit 1 ;;
esac
"""
# A training that saves at TERM, as ours does, or ends by itself with the code in the file `end`.
TRAINING = r"""
trap 'sleep 0.2; touch "$RANK.state"; exit 143' TERM
echo "$RANK of $WORLD_SIZE on GPU $LOCAL_RANK by $MASTER_ADDR:$MASTER_PORT: $*" > "$RANK.started"
until [[ -e end ]]; do sleep 0.02; done
exit "$(cat end)"
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Return a function that starts the script of the document, as Slurm does, and waits until all tasks run."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, code in {"srun": SRUN, "scancel": SCANCEL, "scontrol": SCONTROL, "histosynth": TRAINING}.items():
        (commands / name).write_text(f"#!/bin/bash\n{code}")
        (commands / name).chmod(0o755)
    script = tmp_path / "job.sh"
    (code,) = re.findall(r"^```bash\n(.*?)^```", (DOCS / "slurm.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script.write_text(code)
    environment = {
        "SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NTASKS": str(TASKS),
        "SLURM_CPUS_PER_TASK": "8", "PATH": f"{commands}:{os.environ['PATH']}",
    }  # fmt: skip
    started = []

    def run() -> "subprocess.Popen[bytes]":
        job = subprocess.Popen(
            ["bash", script, "train", "a store", "--out", "run"], cwd=tmp_path, env=environment, start_new_session=True
        )
        started.append(job)
        wait_for(lambda: len(list(tmp_path.glob("*.started"))) == TASKS and (tmp_path / "tasks").exists())
        return job

    yield run
    for job in started:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_near_the_time_limit_the_state_is_saved_and_the_job_requeued(start: Start, tmp_path: Path) -> None:
    job = start()
    assert sorted(path.read_text() for path in tmp_path.glob("*.started")) == [
        f"{rank} of {TASKS} on GPU {rank} by node1:24711: train a store --out run\n" for rank in range(TASKS)
    ]
    assert (tmp_path / "srun.words").read_text().startswith("--cpus-per-task=8 --wait=120 bash -c ")
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 143
    assert (tmp_path / "requeued").read_text().split() == [f"{rank}.state" for rank in range(TASKS)]
    assert (tmp_path / "scancel.words").read_text() == "--signal=TERM 4711\n"


def test_the_second_announcement_of_the_limit_changes_nothing(start: Start, tmp_path: Path) -> None:
    job = start()
    job.send_signal(signal.SIGUSR1)
    wait_for(lambda: (tmp_path / "scancel.words").exists())
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 143
    assert (tmp_path / "requeued").exists()
    assert (tmp_path / "scancel.words").read_text() == "--signal=TERM 4711\n"


@pytest.mark.parametrize("code", [0, 2])
def test_the_exit_code_of_the_command_is_passed_on(start: Start, tmp_path: Path, code: int) -> None:
    job = start()
    (tmp_path / "end").write_text(str(code))
    assert job.wait(60) == code
    assert not (tmp_path / "requeued").exists()


def test_a_job_ended_by_its_user_is_not_requeued(start: Start, tmp_path: Path) -> None:
    job = start()
    for pid in (tmp_path / "tasks").read_text().split():  # as `scancel` of the job does
        os.kill(int(pid), signal.SIGTERM)
    assert job.wait(60) == 143
    assert not (tmp_path / "requeued").exists()


def test_training_that_ends_near_the_limit_is_not_requeued(start: Start, tmp_path: Path) -> None:
    """A mistake, here a full disk, must not come back for ever."""
    training = tmp_path / "bin" / "histosynth"
    training.write_text(training.read_text().replace('touch "$RANK.state"; exit 143', "exit 2"))
    job = start()
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 2
    assert not (tmp_path / "requeued").exists()


def test_accelerate_reads_its_file_which_leaves_no_question_open(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (DOCS / "training.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    path = tmp_path / "eight.yaml"
    path.write_text(text)
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert (config.distributed_type, config.num_processes, config.num_machines) == (DistributedType.MULTI_GPU, 8, 1)
    # Accelerate writes the same file: nothing is missing, and nothing is spelled in another manner.
    config.to_yaml_file(str(tmp_path / "written.yaml"))
    assert yaml.safe_load((tmp_path / "written.yaml").read_text()) == yaml.safe_load(text)
    words = ["--config_file", str(path), "-m", "histosynth", "train", "STORE"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert (arguments.multi_gpu, arguments.num_processes, arguments.use_fsdp) == (True, 8, False)
    assert not arguments.use_deepspeed
