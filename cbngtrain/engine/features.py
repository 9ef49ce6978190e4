"""
What an edit is measured by: the modules that a configuration's processors are made of.

A module is a function from a processor's block to links: steps, which make properties of
properties, and outputs. A new feature of an edit is a new entry in `MODULES`; its function stands
beside those that read the same: texts, words or numbers.
"""

from collections.abc import Callable, Mapping

from cbngtrain.engine import dumps, outputs
from cbngtrain.engine import features_of_numbers as of_numbers
from cbngtrain.engine import features_of_texts as of_texts
from cbngtrain.engine import features_of_words as of_words
from cbngtrain.engine.configuration import Block
from cbngtrain.engine.table import Link

MODULES: Mapping[str, Callable[[Block], list[Link]]] = {
    "all_prop_charset_conv": of_texts.all_prop_charset_conv,
    "charset_conv": of_texts.charset_conv,
    "misc_text_metrics": of_texts.misc_text_metrics,
    "character_counts": of_texts.character_counts,
    "posix_regex_search": of_texts.posix_regex_search,
    "posix_regex_replace": of_texts.posix_regex_replace,
    "fast_string_search": of_texts.fast_string_search,
    "quote_separator": of_texts.quote_separator,
    "character_replace": of_texts.character_replace,
    "word_separator": of_words.word_separator,
    "multi_word_separator": of_words.multi_word_separator,
    "wordset_diff": of_words.wordset_diff,
    "wordset_compare": of_words.wordset_compare,
    "misc_raw_word_metrics": of_words.misc_raw_word_metrics,
    "word_character_replace": of_words.word_character_replace,
    "word_finder": of_words.word_finder,
    "expression_eval": of_numbers.expression_eval,
    "float_set_creator": of_numbers.float_set_creator,
    "bayesian_scorer": of_words.bayesian_scorer,
    "run_ann": of_numbers.run_ann,
    "apply_threshold": of_numbers.apply_threshold,
    "bayesian_training_data_creator": outputs.bayesian_training_data_creator,
    "write_ann_training_data": outputs.write_ann_training_data,
    "trial_run_report": outputs.trial_run_report,
    "write_properties": dumps.write_properties,
    "edit_dump": dumps.edit_dump,
    "print_progress": dumps.print_progress,
}
"""Module → what makes the links of a processor from its block. (``chain`` is chain.py's.)"""
