"""Every setting of jabert: typed, frozen, read from one recipe and `group.key=value` overrides.

A recipe is a TOML file with a table for each group of settings; some come with the package
(`packaged_recipes`). Unknown names and wrong values are refused by name. Paths in a user's recipe are
relative to that recipe; those of overrides and of the built-in defaults to the current directory.
The resolved settings can be written back as a recipe that repeats the run.
"""

from jabert.config.locations import expanded, is_url, local_database, local_path, packaged
from jabert.config.reading import load_settings, packaged_recipes
from jabert.config.settings import (
    ClassifierSettings,
    CorpusSettings,
    DataSettings,
    EncoderSettings,
    FeaturesSettings,
    PackageSettings,
    PretrainingSettings,
    PromotionSettings,
    ServingSettings,
    Settings,
    TrackingSettings,
    TrainingSettings,
    ValidationSettings,
    VocabularySettings,
    setting_names,
)

__all__ = [
    "ClassifierSettings",
    "CorpusSettings",
    "DataSettings",
    "EncoderSettings",
    "FeaturesSettings",
    "PackageSettings",
    "PretrainingSettings",
    "PromotionSettings",
    "ServingSettings",
    "Settings",
    "TrackingSettings",
    "TrainingSettings",
    "ValidationSettings",
    "VocabularySettings",
    "expanded",
    "is_url",
    "load_settings",
    "local_database",
    "local_path",
    "packaged",
    "packaged_recipes",
    "setting_names",
]
