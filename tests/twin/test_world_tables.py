"""Tables of species and links of a twin's world."""

from __future__ import annotations

import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.world import Link, read_link_table, read_links, read_species

HEAD = "name,kind,mass_g,family,order,genus"
PREDATORS = f"""{HEAD}
Themeda triandra,producer,1,Poaceae,Poales,
Equus quagga,endotherm,250000,Equidae,Perissodactyla,
Panthera leo,endotherm,160000,Felidae,Carnivora,
Panthera pardus,endotherm,50000,Felidae,Carnivora,
Crocuta crocuta,endotherm,60000,Hyaenidae,Carnivora,
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text: str, name: str = "table.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_file


@pytest.fixture
def species(write):
    return read_species(write(PREDATORS, "species.csv"))


def _links(write, species, *rows):
    head = "sourceTaxonName,interactionTypeName,targetTaxonName,referenceCitation,inferred,weight\n"
    return read_link_table(write(head + "".join(f"{row}\n" for row in rows), "links.csv"), species)


def test_species_has_units_citations_and_genus(write):
    text = (
        "name,kind,mass_g,density_per_km2,speed_m_per_s,diet_plants,diet_vertebrates,diet_invertebrates,"
        "citation,speed_m_per_s_citation\n"
        "Lupulella mesomelas,Endotherm,8200,0.5,3.5,0.1,0.6,0.3,Handbook,Atlas\n"
        "C4 grasses,producer,1,,,,,,,\n"
    )
    jackal, grass = read_species(write(text))
    assert jackal.kind == "endotherm"
    assert jackal.taxonomy == {"genus": "Lupulella"}
    assert jackal.reference_biomass == pytest.approx(0.5 * 8.2), "0.5 individuals of 8.2 kg in a km²"
    assert jackal.diet == {"plants": 0.1, "vertebrates": 0.6, "invertebrates": 0.3}
    assert jackal.citations == {
        "mass_g": "Handbook",
        "density_per_km2": "Handbook",
        "speed_m_per_s": "Atlas",
        "diet": "Handbook",
    }
    assert jackal.uncited == ()
    assert grass.uncited == ("mass_g",)
    assert grass.reference_biomass is None and grass.taxonomy == {}


def test_toml_and_csv_give_equal_species(write):
    table = write(
        "name,kind,mass_g,genus,diet_plants,mass_g_citation\nEquus quagga,endotherm,250000,Equus,1,Atlas\n"
    )
    toml = write(
        '[[species]]\nname = "Equus quagga"\nkind = "endotherm"\nmass_g = 250000\n'
        'taxonomy = { genus = "Equus" }\ndiet = { plants = 1 }\ncitations = { mass_g = "Atlas" }\n',
        "species.toml",
    )
    assert read_species(table) == read_species(toml)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name,kind,mass_kg\nA b,endotherm,2\n", ["mass_kg", "mass_g (1 kg = 1000 g)"]),
        ("name,kind,mass_g,speed_km_per_h\nA b,endotherm,2,40\n", ["speed_m_per_s", "0.2778"]),
        ("name,kind,mass_g,eyeheight_cm\nA b,endotherm,2,90\n", ["eyeheight_cm", "eye_height_m"]),
        ("name,kind,mass_g,densty_per_km2\nA b,endotherm,2,4\n", ["did you mean density_per_km2"]),
        ("name,kind,mass_g,diet_fish\nA b,endotherm,2,1\n", ["diet_fish", "not known"]),
        ("name,kind,mass_g,speed_citation\nA b,endotherm,2,x\n", ["speed_citation", "not known"]),
        ("name,kind\nA b,endotherm\n", ["no column mass_g"]),
        ("name,kind,mass_g\nA b,endotherm,-2\n", ["row 2", "mass_g is '-2'", "unit"]),
        ("name,kind,mass_g\nA b,endotherm,0\n", ["row 2", "mass_g is '0'"]),
        ("name,kind,mass_g\nA b,endotherm,nan\n", ["row 2", "finite number"]),
        ("name,kind,mass_g\nA b,endotherm,\n", ["row 2", "no mass_g", "grams"]),
        ('name,kind,mass_g\nA b,endotherm,"1,5"\n', ["row 2", "'1,5'", "point for decimals"]),
        (
            "name,kind,mass_g\nA b,endotherm,1\nC d,mammal,2\n",
            ["row 3", "kind is 'mammal'", "write endotherm"],
        ),
        ("name,kind,mass_g\nA b,robot,1\n", ["kind is 'robot'", "producer, invertebrate"]),
        ("name,kind,mass_g\n,endotherm,1\n", ["row 2", "no name"]),
        ("name,kind,mass_g\nA b,endotherm,1\na  b,endotherm,1\n", ["row 3", "twice", "row 2"]),
        ("name,kind,mass_g,growth_per_day\nA b,endotherm,1,0.1\n", ["growth_per_day", "only producers"]),
        ("name,kind,mass_g,diet_plants,diet_vertebrates\nA b,endotherm,1,0.5,0.2\n", ["sums to 0.7"]),
        ("name,kind,mass_g,diet_plants\nA b,endotherm,1,100\n", ["diet_plants is '100'", "between 0 and 1"]),
        ("name,kind,mass_g\n", ["no rows"]),
    ],
)
def test_wrong_species_are_one_line_that_names_the_place(write, text, parts):
    path = write(text)
    with pytest.raises(UserError) as error:
        read_species(path)
    message = str(error.value)
    for part in [str(path), *parts]:
        assert part in message, f"{part!r} is not in: {message}"
    assert "\n" not in message


def test_further_columns_are_ignored(write):
    text = "name,kind,mass_g,mass_kg,iucn\nA b,endotherm,2000,2,LC\n"
    assert read_species(write(text))[0].mass_g == 2000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "species = 3\n",
        "[[species]\n",
        '[[species]]\nname = "A b"\n',
        '[[species]]\nname = "A b"\nkind = "endotherm"\nmass_g = 2\ndiet = 3\n',
        '[[species]]\nname = "A b"\nkind = "endotherm"\nmass_g = true\n',
    ],
)
def test_wrong_toml_of_species(write, text):
    with pytest.raises(UserError, match=r"species\.toml"):
        read_species(write(text, "species.toml"))


def test_links_of_both_directions(write, species):
    table = _links(
        write,
        species,
        "Equus quagga,eats,Themeda triandra,one,,",
        "Panthera leo,preysOn,Equus quagga,two,,",
        "Equus quagga,preyedUponBy,Crocuta crocuta,three,,",
        "Equus quagga,eatenBy,Panthera pardus,,true,0.5",
    )
    assert table.links == (
        Link("Themeda triandra", "Equus quagga", citation="one"),
        Link("Equus quagga", "Panthera leo", citation="two"),
        Link("Equus quagga", "Panthera pardus", inferred=True, weight=0.5),
        Link("Equus quagga", "Crocuta crocuta", citation="three"),
    )
    assert not table.skipped


def test_links_of_higher_taxa_apply_to_their_species(write, species):
    table = _links(write, species, "Panthera,preysOn,Equidae,genus,,", "Felidae,eats,Carnivora,family,,")
    pairs = {(link.consumer, link.resource) for link in table.links}
    assert pairs == {
        ("Panthera leo", "Equus quagga"),
        ("Panthera pardus", "Equus quagga"),
        ("Panthera leo", "Panthera pardus"),
        ("Panthera leo", "Crocuta crocuta"),
        ("Panthera pardus", "Panthera leo"),
        ("Panthera pardus", "Crocuta crocuta"),
    }, "cannibalism does not follow from a link between families"


def test_links_name_subspecies_authors_and_undetermined_species(write, species):
    table = _links(
        write,
        species,
        "Panthera leo melanochaita,preysOn,Equus quagga burchellii,,,",
        '"Crocuta crocuta (Erxleben, 1777)",eats,Equus sp.,,,',
    )
    assert [(link.consumer, link.resource) for link in table.links] == [
        ("Panthera leo", "Equus quagga"),
        ("Crocuta crocuta", "Equus quagga"),
    ]


def test_skipped_links_are_counted(write, species):
    table = _links(
        write,
        species,
        "Panthera leo,parasiteOf,Equus quagga,,,",
        "Panthera leo,eats,Aepyceros melampus,,,",
        "Panthera leo,eats,Aepyceros melampus,,,",
        "Themeda triandra,eats,Equus quagga,,,",
        "Panthera leo,eats,Panthera leo,,,",
        "Panthera leo,eats,Equus quagga,a,,",
        "Panthera leo,preysOn,Equus quagga,b,,",
    )
    assert table.links == (
        Link("Equus quagga", "Panthera leo", citation="a; b"),
        Link("Panthera leo", "Panthera leo"),
    )
    assert table.skipped == {
        "interactions other than feeding": 1,
        "links of taxa that are not in the species table": 2,
        "links in which a producer eats": 1,
        "repeated links": 1,
    }
    assert table.unknown == {"Aepyceros melampus": 2}


def test_an_observed_row_makes_a_repeated_link_observed(write, species):
    rows = ["Panthera leo,eats,Equus quagga,guess,true,0.2", "Panthera leo,eats,Equus quagga,seen,false,3"]
    for order in (rows, rows[::-1]):
        (link,) = _links(write, species, *order).links
        assert link == Link("Equus quagga", "Panthera leo", weight=3.0, citation="seen")


def test_a_row_about_species_has_precedence_over_its_family(write, species):
    (link, _) = _links(
        write, species, "Felidae,eats,Equus quagga,family,,2", "Panthera leo,eats,Equus quagga,lion,,5"
    ).links
    assert (link.consumer, link.weight, link.citation) == ("Panthera leo", 5.0, "lion")


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (["Panthera leo,eats,Equus quagga,,perhaps,"], ["row 2", "'perhaps'"]),
        (["Panthera leo,eats,Equus quagga,,,0"], ["row 2", "weight is '0'"]),
        (["Panthera leo,eats,Equus quagga,,,nan"], ["row 2", "weight is 'nan'"]),
        (
            ["Panthera leo,eats,Equus quagga,,,2", "Panthera leo,eats,Equus quagga,,,3"],
            ["row 3", "row 2", "keep one"],
        ),
    ],
)
def test_wrong_links_name_their_row(write, species, rows, parts):
    with pytest.raises(UserError) as error:
        _links(write, species, *rows)
    for part in parts:
        assert part in str(error.value)


def test_links_need_their_columns(write, species):
    path = write("sourceTaxonName,targetTaxonName\nPanthera leo,Equus quagga\n", "links.csv")
    with pytest.raises(UserError, match="no column interactionTypeName"):
        read_links(path, species)
