"""
The embedded core: the native core's programs, in Python.

A program of its own. It imports nothing of the rest of the project, nobody imports it, and it
is met on a command line: ``python -m cbngtrain.engine PROGRAM ARGS…``. Where a source file is
named as *the core's* it is one of https://github.com/cluebotng/core.

What is where, each line in the order in which it is best read:

===========  =====================================================================================
a run        cluebotng: chunks, edits (property_types), table, outputs; workers, progress, errors
a chain      configuration, chain, features: features_of_texts, features_of_words,
             features_of_numbers
texts        text; expressions: regex, posix, regex_tree, byte_chains, then finders or automaton
words        splitter, split_texts, text_runs, word_sets; what they say: word_metrics, scorer
             how they are held: vocabulary, run_vocabulary, spellings, packed, hashes; groups,
             counts, first_words
numbers      expression; network (fann_format, activation)
outputs      outputs, dumps, report, output
programs     create_bayes_db: word_list (word_arrays), bayes; print_bayes_db;
             create_ann: training_rows, start_weights, training, slopes (blas)
===========  =====================================================================================
"""
