"""Words of colours and materials. They count in a category only where its own titles repeat them."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Also fruit, flowers and metals: a category has them as colours only where it has others, too.
ALSO_THINGS = _words(
    "amber apricot aqua bronze burgundy cherry chocolate copper coral cream gold ivory lemon lime mint mustard olive "
    "orange peach pearl plum raspberry rose ruby silver tan vanilla wine"
)
COLOURS = ALSO_THINGS | _words(
    "beige black blue brown charcoal cyan ecru fuchsia gray green grey indigo khaki lavender lilac magenta maroon "
    "mauve multicolour multicolor navy pink purple red scarlet taupe teal turquoise violet white yellow"
)
SHADES = _words("bright dark deep hot light navy pale royal sky off")
SAME_COLOUR = {"gray": "grey", "multicolor": "multicolour"}
MATERIALS = _words(
    "acrylic aluminium aluminum bamboo brass canvas cardboard carbon cashmere ceramic chiffon clay cork cotton "
    "crystal denim enamel fabric felt fleece fur glass granite jute lace latex leather linen marble mesh metal nylon "
    "oak paper pewter pine plastic polyester porcelain rattan rubber satin silicone silk slate steel stone suede "
    "terracotta tin velvet vinyl wicker wood wooden wool zinc"
)
SAME_MATERIAL = {"aluminum": "aluminium", "wooden": "wood"}
STOPS = _words("with for from in on by w and or plus")  # words after which a title no longer names the thing itself
LITTLE = STOPS | _words("a an the of to at")
PACKAGES = _words("bag bottle box btl can carton case ctn cs cup jar pack packet pkg pouch roll sleeve tray tub tube")
