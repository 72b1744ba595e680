/* SPDX-License-Identifier: MIT */
#ifndef CLI_REMOVE_TREE_H
#define CLI_REMOVE_TREE_H

/* Removes a folder with all that is in it, without following symbolic links. One that is not there is no error. */
int cli_remove_tree(const char *path);

#endif
