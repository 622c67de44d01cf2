"""Every setting of jabert: typed, frozen, read from one recipe and `group.key=value` overrides.

A recipe is a TOML file with a table for each group of settings; some come with the package
(`packaged_recipes`). Unknown names and wrong values are refused by name. Paths in a user's recipe are
relative to that recipe; those of overrides and of the built-in defaults to the current directory.
The resolved settings can be written back as a recipe that repeats the run.
"""

from jabert.config.locations import expanded, is_url, local_database, local_path, packaged
from jabert.config.reading import RENAMED, load_settings, packaged_recipes, rename_settings
from jabert.config.settings import (
    CorpusSettings,
    Count,
    DataSettings,
    EncoderSettings,
    FeaturesSettings,
    MethodSettings,
    PackageSettings,
    Positive,
    PretrainingSettings,
    PromotionSettings,
    ServingSettings,
    Settings,
    Share,
    TrackingSettings,
    TrainingSettings,
    ValidationSettings,
    VocabularySettings,
    decisive,
    fields,
    method_kinds,
    setting_names,
    settings_with_method,
)

__all__ = [
    "RENAMED",
    "CorpusSettings",
    "Count",
    "DataSettings",
    "EncoderSettings",
    "FeaturesSettings",
    "MethodSettings",
    "PackageSettings",
    "Positive",
    "PretrainingSettings",
    "PromotionSettings",
    "ServingSettings",
    "Settings",
    "Share",
    "TrackingSettings",
    "TrainingSettings",
    "ValidationSettings",
    "VocabularySettings",
    "decisive",
    "expanded",
    "fields",
    "is_url",
    "load_settings",
    "local_database",
    "local_path",
    "method_kinds",
    "packaged",
    "packaged_recipes",
    "rename_settings",
    "setting_names",
    "settings_with_method",
]
