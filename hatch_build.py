"""What an installed package has beside its code: the tables, the small world, and the address of the repository."""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("_config.yml", "data/*.tsv", "data/*.csv", "data/registry.txt", "data/WORDNET_LICENSE", "data/small_world/*")


class DataFiles(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        if version == "editable":  # it finds them in the checkout
            return
        root = Path(self.root)
        for file in (file for pattern in FILES for file in root.glob(pattern)):
            inside = file.relative_to(root).as_posix().removeprefix("data/")
            build_data["force_include"][str(file)] = f"nbutils/_data_files/{inside}"
