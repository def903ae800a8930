// Texts of the view of the jumping spider.

const spiderEnglish = {
  "mode.spider.title": "Spider",
  "mode.spider.text": "You are a jumping spider, one centimeter long, on the post where zebras scratch. Steer the sharp spot; around it, only what moves shows.",
  "spider.hint": "Point or drag to look. “{choose}” turns to what moves, “{next}” steps outside.",
  "spider.hint.person": "This is you, as a person sees it. “{next}” goes back behind the spider’s eyes.",
  "spider.swap.person": "See the spider",
  "spider.swap.eyes": "Through its eyes",
  "spider.line": "Two large eyes see sharply, 5° wide; six small ones see blurred, and what keeps still fades. Made up: the spot’s trace, flies, rubbing. The zebra follows the simulated herd.",
  "spider.person.line": "The spider’s body is drawn after no particular species. The zebra follows the simulated herd; that it rubs is made up.",
};

const spiderFrench = {
  "mode.spider.title": "Araignée",
  "mode.spider.text": "Vous êtes une araignée sauteuse d’un centimètre, sur le poteau où se grattent les zèbres. Dirigez la tache nette ; autour, on ne voit que ce qui bouge.",
  "spider.hint": "Pointez ou glissez pour regarder. « {choose} » se tourne vers ce qui bouge, « {next} » sort de l’araignée.",
  "spider.hint.person": "C’est vous, vu par un humain. « {next} » revient derrière les yeux de l’araignée.",
  "spider.swap.person": "Voir l’araignée",
  "spider.swap.eyes": "Par ses yeux",
  "spider.line": "Deux grands yeux voient net, sur 5° ; six petits voient flou, et l’immobile s’efface. Inventés : la trace, les mouches, le frottement. Le zèbre suit le troupeau simulé.",
  "spider.person.line": "Le corps de l’araignée n’est celui d’aucune espèce précise. Le zèbre suit le troupeau simulé ; qu’il se frotte est inventé.",
};

export const spiderText = {en: spiderEnglish, fr: spiderFrench};
