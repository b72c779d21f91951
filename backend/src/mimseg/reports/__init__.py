"""What all reports share: `page` (skeleton and style of HTML files that need no other file), `pictures`, `preview`, and
`targets`: no report replaces a file that is none."""
