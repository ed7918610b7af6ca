// Package tree makes tar archives of files and directories, and unpacks them from whoever
// may have written them. Host and guest use it for what they copy.
package tree
