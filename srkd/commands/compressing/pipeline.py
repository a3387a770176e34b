"""The steps from a teacher and photographs to a trained student."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srkd.commands.compressing import photographs, training
from srkd.commands.compressing.recipes import LONG, Phase, choose_recipe
from srkd.commands.compressing.request import Request, check_scale, find_shipped
from srkd.commands.compressing.steps import Steps
from srkd.commands.compressing.teacher import Traits, cut_windows, find_discriminator, inspect_teacher
from srkd.commands.compressing.words import describe_row, explain, show_search
from srkd.degradation import make_degradation
from srkd.files import hash_file
from srkd.models.base import Generator
from srkd.search.choosing import Row, Searcher, check_found, restore
from srkd.terminal import note, say
from srkd.weights.catalogue import find_weights

# The teacher may take this share of the hours for its outputs; what it leaves is training, less what
# validation takes.
TEACHER_SHARE, VALIDATION_SHARE = 0.3, 0.1
# A race has this share of the time for training, and as many candidates.
RACE_SHARE, RACERS = 0.25, 4
# How training degrades photographs for a teacher that repairs them.
RESTORED = {"preset": "real", "clean": 0.2}


class Pipeline:
    """Does the steps of a request, or takes them from an earlier call."""

    def __init__(self, request: Request, steps: Steps):
        self.request, self.steps = request, steps
        self.path = find_weights(request.teacher)
        self.digest = hash_file(self.path, 16)
        self.discriminator = find_discriminator(self.path, request.discriminator)
        self.scale = check_scale(self.path, request.scale)
        self.train, self.held = photographs.split_photographs(request.data, self.scale, request.val)
        # What a race found, round by round.
        self.raced: list[str] = []
        self.files = {
            "photographs": photographs.describe_files(self.train),
            "held-out photographs": photographs.describe_files(self.held),
        }

    def inspect(self) -> Traits:
        """Finds out what the teacher is."""
        request = self.request

        def work(_place: Path) -> dict[str, Any]:
            from srkd.upscaling.opening import open_runner
            from srkd.weights.store import load_generator

            runner = open_runner(self.path)
            windows = cut_windows(photographs.read_windows(self.held, self.scale), self.scale)
            objective = load_generator(self.path).info.get("objective")
            traits = inspect_teacher(runner, windows, objective, self.discriminator is not None, request.kind)
            return asdict(traits)

        inputs = {"teacher": self.digest, "kind": request.kind, **self.files}
        inputs["discriminator"] = self._hash_discriminator()
        traits = Traits(**self.steps.do("teacher", "the teacher", inputs, work))
        words = {"psnr": "trained for PSNR", "gan": "trained adversarially"}[traits.kind]
        say(f"{self.path.name}: x{self.scale}, {words} ({traits.why_kind})")
        verb = "repairs" if traits.restoring else "does not repair"
        say(f"it {verb} degraded photographs: {traits.why_restoring}")
        return traits

    def degradation(self, traits: Traits) -> Any:
        """How training degrades photographs."""
        if self.request.degradation is not None:
            return self.request.degradation
        return RESTORED if traits.restoring else "none"

    def search(self, traits: Traits) -> dict[str, Any]:
        """Finds the student: `rows` of the table, `chosen` and `runners` among them, and `notes`."""
        request, trained = self.request, self.trained(traits)

        def work(place: Path) -> dict[str, Any]:
            found = Searcher(
                request.budgets,
                request.place,
                self.scale,
                place,
                request.architectures,
                request.profile,
                list(trained.values()),
                RACERS if request.race else 1,
            ).run()
            show_search(found, request.budgets)
            chosen = check_found(found, request.budgets)
            return {
                "rows": [row.to_json() for row in found.shown()],
                "chosen": chosen.to_json(),
                "runners": [row.to_json() for row in found.runners_up(RACERS)],
                "notes": found.notes,
                "why": explain(found),
                "shipped": {name: row.to_json() for name, row in find_shipped(found, self.scale).items()},
                "total": len(found.rows),
            }

        inputs = {
            "budget": [budget.text for budget in request.budgets],
            "runtime": request.place.describe(),
            "profile": asdict(request.profile) if request.profile else None,
            "scale": self.scale,
            "models": request.architectures,
            "trained": list(trained),
            "race": request.race,
        }
        found = self.steps.do("search", "the search", inputs, work)
        say(f"student: {describe_row(restore(found['chosen']), request.budgets)}")
        return found

    def prepare(self, traits: Traits, degradation: Any) -> dict[str, Any]:
        """Cuts crops and the held-out windows, and stores the teacher's outputs on the crops."""
        request = self.request
        mix = make_degradation(degradation)
        count = self.count_crops(traits)
        each, most = traits.seconds_per_pixel, self.most_teacher_seconds()

        def work(place: Path) -> dict[str, Any]:
            from srkd.commands.prepare import prepare

            windows = photographs.read_windows(self.held, self.scale)
            held = photographs.write_held(windows, place / "held", mix)
            crops = photographs.write_crops(self.train, place / "crops", self.scale, count, request.seed)
            minutes = crops * photographs.CROP_SIDE**2 * each / 60
            say(f"the teacher on {crops} crops: about {minutes:.1f} minutes")
            if minutes * 60 > 1.1 * most:
                note(
                    f"that is more than its share of --hours, {most / 60:.1f} minutes; fewer crops "
                    f"would not do"
                )
            photographs.drop_incomplete(place / "packed")
            prepare(
                place / "crops",
                place / "packed",
                scale=self.scale,
                degradation=degradation,
                seed=request.seed,
                teacher=self.path,
                clean_target="hr" if mix is not None and mix.clean else "teacher",
            )
            return {"held": held, "crops": crops}

        inputs = {
            **self.files,
            "teacher": self.digest,
            # What the hours allow: with others that allow as many, nothing has to be done again.
            "crops": count,
            "degradation": degradation,
            "seed": request.seed,
            "scale": self.scale,
        }
        place = self.steps.place("photographs")
        return self.steps.do(
            "photographs",
            "photographs, and the teacher's outputs on them",
            inputs,
            work,
            lambda found: photographs.list_outputs(place, found["held"]),
        )

    def settings(self) -> training.Settings:
        """What all training shares."""
        from srkd.upscaling.opening import best_device

        # Absolute, so that a run is the same one from wherever the command is given again.
        place = self.steps.place("photographs").resolve()
        device = self.request.device
        on_gpu = (best_device() if device == "auto" else device).startswith("cuda")
        return training.Settings(
            str(place / "packed"),
            str(place / "held"),
            str(self.path.resolve()),
            None if self.discriminator is None else str(self.discriminator.resolve()),
            self.scale,
            self.request.seed,
            device,
            "bf16-mixed" if on_gpu else "32-true",
        )

    def start(self, row: Row, traits: Traits) -> dict[str, str]:
        """Makes the weights that the student starts from."""

        def work(place: Path) -> dict[str, str]:
            return training.make_start(
                row.candidate,
                self.scale,
                self.request.seed,
                self.trained(traits),
                place / "start.safetensors",
            )

        inputs = {
            "student": row.candidate.name,
            "options": dict(row.candidate.options),
            "teacher": self.digest,
            "fresh": self.request.fresh,
            "seed": self.request.seed,
            "scale": self.scale,
        }
        weights = self.steps.place("start") / "start.safetensors"
        found = self.steps.do("start", "the start", inputs, work, lambda _: [weights])
        say(f"starts from {found['said']}")
        return found

    def trained(self, traits: Traits) -> dict[str, Generator]:
        """The networks that a student may start from, by name; none for fresh weights. The teacher is one if
        it is a network of this package, trained for PSNR on what bicubic makes."""
        from srkd.weights.store import load_generator

        if self.request.fresh:
            return {}
        teacher = None
        if traits.kind == "psnr" and not traits.restoring:
            teacher = load_generator(self.path)
        return training.load_trained(teacher if teacher and teacher.config else None)

    def plan(self, traits: Traits, start: Mapping[str, str], settings: training.Settings) -> dict[str, Any]:
        """Chooses the recipe, and how many steps there is time for."""
        seconds = self.training_seconds(traits)
        weights = self.steps.place("start") / "start.safetensors"

        def work(place: Path) -> dict[str, Any]:
            recipe = choose_recipe(traits, self.discriminator is not None, True)
            plans = self._plan(recipe, start, settings, weights, seconds, place)
            if recipe == "gan2gan" and sum(plans[-1]["steps"].values()) < LONG:
                recipe = "gan"
                plans = self._plan(recipe, start, settings, weights, seconds, place)
            return {"recipe": recipe, "phases": plans}

        inputs = {
            "weights": hash_file(weights, 16),
            "photographs": self.steps.done["photographs"]["inputs"],
            "hours": self.request.hours,
            "kind": traits.kind,
            "restoring": traits.restoring,
            "control": self.request.control,
            "race": self.request.race,
            "device": settings.device,
            "discriminator": self._hash_discriminator(),
        }
        return self.steps.do("plan", "the plan", inputs, work)

    def _hash_discriminator(self) -> str | None:
        return self.discriminator and hash_file(self.discriminator, 16)

    def count_crops(self, traits: Traits) -> int:
        """How many crops the teacher has time for, and the photographs room."""
        pixels, seconds = photographs.typical_pixels(self.train), self.most_teacher_seconds()
        return photographs.plan_crops(len(self.train), pixels, self.scale, seconds, traits.seconds_per_pixel)

    def most_teacher_seconds(self) -> float:
        """The most time for the teacher's outputs."""
        return self.request.hours * 3600 * TEACHER_SHARE

    def all_training_seconds(self, traits: Traits) -> float:
        """The time for training, race and control included."""
        outputs = self.count_crops(traits) * photographs.CROP_SIDE**2 * traits.seconds_per_pixel
        whole = self.request.hours * 3600 * (1 - VALIDATION_SHARE)
        return whole - min(outputs, self.most_teacher_seconds())

    def training_seconds(self, traits: Traits) -> float:
        """The time for the student's training."""
        seconds = self.all_training_seconds(traits)
        if self.request.race:
            seconds *= 1 - RACE_SHARE
        return seconds / 2 if self.request.control else seconds

    def _plan(
        self,
        recipe: str,
        start: Mapping[str, str],
        settings: training.Settings,
        weights: Path,
        seconds: float,
        scratch: Path,
    ) -> list[dict[str, Any]]:
        phases = training.phases_for(recipe, start["how"])
        return training.plan_steps(settings, phases, weights, seconds, start["how"] == "same", scratch)

    def train_student(
        self, plan: Mapping[str, Any], start: Mapping[str, str], settings: training.Settings, control: bool
    ) -> list[dict[str, Any]]:
        """Trains the student, or its control: of each phase its folder, the last `weights`, and the
        `start`."""
        phases = training.phases_for(plan["recipe"], start["how"])
        weights = self.steps.place("start") / "start.safetensors"
        found: list[dict[str, Any]] = []
        for phase, one in zip(phases, plan["phases"], strict=True):
            shared = control and not phase.taught and not found
            name = f"{'control' if control and not shared else 'student'}-{phase.name}"
            title = f"the {'control' if control and not shared else 'student'}, {phase.name}"
            result = self._train(name, title, phase, one, weights, settings, start["how"] == "same", control)
            places = {key: str(self.steps.folder / result[key]) for key in ("folder", "weights")}
            found.append({**result, **places, "start": str(weights)})
            weights = Path(places["weights"])
        return found

    def _train(
        self,
        name: str,
        title: str,
        phase: Phase,
        plan: Mapping[str, Any],
        start: Path,
        settings: training.Settings,
        gentle: bool,
        control: bool,
    ) -> dict[str, Any]:
        # After PSNR training at full rate there is nothing to be gentle with.
        taught = control and phase.taught

        def work(place: Path) -> dict[str, Any]:
            run = training.train_phase(settings, phase, start, place / "run", plan, gentle, taught)
            return {
                "folder": str(run.folder.relative_to(self.steps.folder)),
                "weights": str(list(run.weights.values())[-1].relative_to(self.steps.folder)),
                "psnr": run.psnr,
            }

        inputs = {
            "plan": dict(plan),
            "start": hash_file(start, 16),
            "photographs": self.steps.done["photographs"]["inputs"],
            "seed": settings.seed,
            "control": taught,
            "recipe": [phase.strategy, dict(phase.stages)],
            "discriminator": self._hash_discriminator() if phase.strategy == "gan2gan" else None,
        }
        return self.steps.do(name, title, inputs, work, lambda found: [self.steps.folder / found["weights"]])
